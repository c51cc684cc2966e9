// The element <plenary-room> as a test uses it: by the hooks in its markup.

import assert from "node:assert/strict";

import type { Page } from "puppeteer-core";

export const act = (page: Page, name: string) => page.locator(`>>> [data-act="${name}"]`).click();
export const fill = (page: Page, field: string, text: string) => page.locator(`>>> [data-field="${field}"]`).fill(text);

/** Waits for an element of the page. */
export const there = (page: Page, selector: string) =>
  page.locator(`>>> ${selector}`).setTimeout(20_000).wait().catch(async () => assert.fail(`${selector}: ${await text(page)}`));

export const text = (page: Page) => page.evaluate(() => document.querySelector("plenary-room")?.shadowRoot?.textContent);

/** Waits for a line that is read out. */
export async function alerted(page: Page, is: string): Promise<void> {
  const says = (is: string) =>
    [...(document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll('[role="alert"]') ?? [])].some((one) =>
      one.textContent?.includes(is),
    );
  await page.waitForFunction(says, { timeout: 20_000 }, is).catch(async () => assert.fail(`${is}: ${await text(page)}`));
}

/** Waits until the page is in the room. */
export const live = (page: Page) =>
  page.waitForFunction(() => window.plenary.snapshot().then((snapshot) => snapshot?.state === "live"), { timeout: 20_000 });
