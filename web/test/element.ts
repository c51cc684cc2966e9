// The element <plenary-room> as a test uses it: by the hooks in its markup.

import assert from "node:assert/strict";

import type { Page } from "puppeteer-core";

const WAIT_MS = 20_000;

/** Waits for an element of the page. Puppeteer's own waiting hears of no change within a shadow root. */
export async function there(page: Page, selector: string): Promise<void> {
  const isThere = (selector: string) =>
    document.querySelector("plenary-room")?.shadowRoot?.querySelector(selector) != null;
  const waiting = page.waitForFunction(isThere, { timeout: WAIT_MS, polling: 50 }, selector);
  await waiting.catch(async () => assert.fail(`${selector}: ${await text(page)}`));
}

/** Clicks what a selector finds, once it is there. */
export async function click(page: Page, selector: string): Promise<void> {
  await there(page, selector);
  await page.locator(`>>> ${selector}`).click();
}

export const act = (page: Page, name: string) => click(page, `[data-act="${name}"]`);

export async function fill(page: Page, field: string, text: string): Promise<void> {
  const selector = `[data-field="${field}"]`;
  await there(page, selector);
  await page.locator(`>>> ${selector}`).fill(text);
}

export const text = (page: Page) =>
  page.evaluate(() => document.querySelector("plenary-room")?.shadowRoot?.textContent);

/** Whether the page's text contains this. */
export const reads = async (page: Page, is: string) => (await text(page))?.includes(is) ?? false;

/** Waits until the page's text contains this. */
export async function says(page: Page, is: string): Promise<void> {
  const contains = (is: string) =>
    document.querySelector("plenary-room")?.shadowRoot?.textContent?.includes(is) ?? false;
  const waiting = page.waitForFunction(contains, { timeout: WAIT_MS, polling: 50 }, is);
  await waiting.catch(async () => assert.fail(`${is}: ${await text(page)}`));
}

/** Waits for a line that is read out. */
export async function alerted(page: Page, is: string): Promise<void> {
  const says = (is: string) =>
    [...(document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll('[role="alert"]') ?? [])].some((one) =>
      one.textContent?.includes(is),
    );
  await page
    .waitForFunction(says, { timeout: WAIT_MS }, is)
    .catch(async () => assert.fail(`${is}: ${await text(page)}`));
}

/** Waits until the page is in the room. */
export const live = (page: Page) =>
  page.waitForFunction(() => window.plenary.snapshot().then((snapshot) => snapshot?.connection === "connected"), {
    timeout: WAIT_MS,
  });

export const snapshot = (page: Page) => page.evaluate(() => window.plenary.snapshot());

/** The invite of a room that a page has opened. */
export const inviteOf = async (page: Page) => (await snapshot(page))?.invite ?? "";

/** Duplicates a tab: a window that a page opens gets a copy of its storage. */
export async function duplicate(page: Page): Promise<Page> {
  const opened = new Promise<Page | null>((resolve) => page.once("popup", resolve));
  await page.evaluate(() => window.open(location.href));
  const copy = await opened;
  assert.ok(copy);
  return copy;
}

/** Closes the dialog, and waits until it is gone: until then the room hears no keys. */
export async function closeDialog(page: Page): Promise<void> {
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.querySelector("plenary-room")?.shadowRoot?.querySelector("dialog"), {
    timeout: WAIT_MS,
  });
}

/** What has the focus: its hook, or its text. */
export const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement?.shadowRoot?.activeElement;
    if (!(element instanceof HTMLElement)) return "";
    const { act, field } = element.dataset;
    return act ?? field ?? element.textContent?.trim() ?? "";
  });

/** Presses Tab until this has the focus. */
export async function tabTo(page: Page, name: string): Promise<void> {
  for (let at = 0; at < 40; at++) {
    if ((await focused(page)) === name) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`no way to ${name} by Tab`);
}
