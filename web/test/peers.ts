// Tabs as peers of a test's room: those that watch, and those that speak with the browser's false camera and
// microphone.

import type { Page } from "puppeteer-core";

import type { Snapshot } from "../src/room.js";
import type { Browsing } from "./browsers.js";
import { type Entry, enterWith, joinWith, type Room } from "./room.js";
import { untilShown } from "./shown.js";

export const snapshot = (page: Page): Promise<Snapshot> => page.evaluate(() => window.room.snapshot());

/** Opens a tab that watches, and waits until it shows pictures. */
export async function watcher(room: Room, name: string, browsing: Browsing = {}): Promise<Page> {
  const page = await room.page(browsing);
  await watch(page, room, name);
  return page;
}

/** Lets an empty tab watch, and waits until it shows pictures. */
export async function watch(page: Page, { invite }: Room, name: string): Promise<void> {
  await joinWith(page, { invite, name });
  await untilShown(page);
}

/** Opens a tab that speaks. */
export async function speaker(room: Room, name: string, browsing: Browsing = {}): Promise<Page> {
  const page = await room.page(browsing);
  await speak(page, room, name);
  return page;
}

/** Lets an empty tab speak. */
export async function speak(page: Page, { invite }: Room, name: string): Promise<void> {
  await speakBy(page, { invite, name });
}

/** Lets an empty tab enter a room, or open one, and speak there. */
export async function speakBy(page: Page, entry: Entry): Promise<void> {
  await enterWith(page, { ...entry, speaks: true });
  await page.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const [picture, sound] = [stream.getVideoTracks()[0], stream.getAudioTracks()[0]];
    if (picture && sound) await window.room.publish({ picture, sound });
  });
}
