// Draws the page's screens, wide and on a phone: `web/test/screens [FOLDER]`, by default docs/screens.

import { mkdirSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";

import type { Page } from "puppeteer-core";

import { act, closeDialog, fill, inviteOf, there } from "./element.js";
import { Room, within } from "./room.js";

declare global {
  interface Window {
    /** Makes the devices free that another program has used. */
    free: () => void;
  }
}

const folder = argv[2] ?? fileURLToPath(new URL("../../../docs/screens", import.meta.url));
const SIZES = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const QUALITY = 55;
/** Time for pictures and layouts to settle, in milliseconds. */
const SETTLING_MS = 600;

const settled = () => new Promise((resolve) => setTimeout(resolve, SETTLING_MS));

async function draw(page: Page, name: string): Promise<void> {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewport(viewport);
    await settled();
    await page.screenshot({
      path: `${folder}/${name}-${size}.webp` as `${string}.webp`,
      type: "webp",
      quality: QUALITY,
    });
  }
  await page.setViewport(SIZES.wide);
}

mkdirSync(folder, { recursive: true });
const room = await Room.ofPages();
try {
  const host = await room.screen({ rendezvous: room.rendezvous });
  await fill(host, "title", "Garden club");
  await fill(host, "name", "Grace");
  await draw(host, "1-open");
  await act(host, "open");
  await there(host, "dialog.invite[open] .qr svg");
  await draw(host, "2-invite");
  await closeDialog(host);
  const invite = await inviteOf(host);
  room.start("mixer", invite);
  await act(host, "hand");
  await there(host, "dialog.stage[open] .preview video");
  await act(host, "go-on-stage");
  for (const name of ["Ada", "Emmy"]) {
    room.start("join", invite, "--speak", "--mix", "never", "--name", name, "--speaker-size", "320x180@15");
  }
  const onStage = () =>
    window.plenary.snapshot().then((snapshot) => snapshot?.stage.filter(({ speaks }) => speaks).length === 3);
  await host.waitForFunction(onStage, { timeout: 30_000 });
  // from now on speakers ask for the floor
  await act(host, "host");
  await act(host, "stage");
  const guest = await room.screen({ invite });
  await draw(guest, "3-entrance");
  await fill(guest, "name", "Hedy");
  await act(guest, "join");
  await there(guest, ".preview video");
  await draw(guest, "4-prejoin");
  await act(guest, "back");
  await guest.evaluate(() => {
    const { mediaDevices } = navigator;
    const open = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = () => Promise.reject(new DOMException("in use", "NotReadableError"));
    window.free = () => (mediaDevices.getUserMedia = open);
  });
  await act(guest, "join");
  await there(guest, '[data-way="again"]');
  await draw(guest, "12-refusal");
  await guest.evaluate(() => window.free());
  await act(guest, "watch");
  await guest.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 30_000 });
  await draw(guest, "5-viewer");
  await act(guest, "hand");
  await act(host, "lobby");
  const waiting = await room.screen({ invite });
  await fill(waiting, "name", "Rosalind");
  await act(waiting, "watch");
  await there(waiting, ".waiting");
  await settled();
  await draw(waiting, "6-lobby");
  await draw(host, "7-host");
  await act(host, "people");
  await there(host, '[data-act="admit"]');
  await draw(host, "8-people");
  await act(host, "chat");
  for (const text of ["Good morning! Today: roses.", "The list of plants is at https://example.org/plants"]) {
    await fill(host, "message", text);
    await host.keyboard.press("Enter");
  }
  await draw(host, "9-chat");
  await act(host, "panel");
  await draw(host, "10-connection");
  await act(host, "panel");
  await act(host, "more");
  await act(host, "settings");
  await there(host, "dialog.settings[open] .preview video");
  await draw(host, "13-settings");
  await closeDialog(host);
  await act(host, "host");
  await act(host, "stage");
  await act(host, "host");
  // the hand is down again, and the stage open
  await act(guest, "hand");
  await within("the stage is open", () =>
    guest.evaluate(() => window.plenary.snapshot().then((now) => now?.stage_open ?? false)),
  );
  await act(guest, "hand");
  await there(guest, "dialog.stage[open] .preview video");
  await draw(guest, "14-stage");
  await closeDialog(guest);
  await act(host, "leave");
  await there(host, "dialog.leave[open]");
  await draw(host, "15-leave");
  await closeDialog(host);
  await act(guest, "leave");
  await there(guest, '[data-way="rejoin"]');
  await draw(guest, "11-end");
  await host.reload();
  await there(host, '[data-act="open"]');
  await draw(host, "16-go-on");
} finally {
  await room.close();
}
