// Draws the page's screens into docs/screens: `web/test/screens [FOLDER]`.

import { mkdirSync } from "node:fs";
import { argv } from "node:process";

import type { Page } from "puppeteer-core";

import { Room } from "./room.js";

const folder = argv[2] ?? "screens";
mkdirSync(folder, { recursive: true });

const SIZES = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 }, side: { width: 844, height: 390 }, narrow: { width: 360, height: 640 } };

async function draw(page: Page, name: string): Promise<void> {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewport(viewport);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await page.screenshot({ path: `${folder}/${name}-${size}.webp`, type: "webp", quality: 60 });
  }
  await page.setViewport(SIZES.wide);
}

const act = (page: Page, name: string) => page.locator(`>>> [data-act="${name}"]`).click();
const room = await Room.withAda("--title", "Monday meeting");
try {
  const start = await room.screen({ invite: "" });
  await draw(start, "open");
  const page = await room.screen();
  await draw(page, "entrance");
  await page.locator('>>> [data-field="name"]').fill("Eve");
  await act(page, "join");
  await page.locator('>>> .preview video').wait();
  await draw(page, "prejoin");
  await act(page, "join");
  await page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 20_000 });
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await draw(page, "speaker");
  await act(page, "people");
  await draw(page, "people");
  await act(page, "chat");
  await draw(page, "chat");
  await act(page, "panel");
  await draw(page, "connection");
  await act(page, "panel");
  await act(page, "more");
  await draw(page, "more");
  await act(page, "settings");
  await draw(page, "settings");
  await act(page, "close");
  await page.keyboard.press("?");
  await draw(page, "shortcuts");
  await page.keyboard.press("Escape");
  await act(page, "more");
  await act(page, "invite");
  await draw(page, "invite");
  await page.keyboard.press("Escape");
  await act(page, "leave");
  await draw(page, "end");
} finally {
  await room.close();
}
