// What the page makes of a reason's code: a line in each language and ways on. No code asks for a text to know a state.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import type { Reason as Told } from "../src/app.js";
import { type Reason, Refused } from "../src/refused.js";
import type { Snapshot } from "../src/room.js";
import { languageOf, speakLanguage, type Texts, texts } from "../src/texts.js";
import { de } from "../src/texts-de.js";
import { en } from "../src/texts-en.js";
import { hear } from "../src/ui/hear.js";
import { asksPassword, refusalFor, refusalOf, type Way } from "../src/ui/refusals.js";
import { Session } from "../src/ui/session.js";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));

/** What is compared, or searched, in place of a code. */
const COMPARED = [
  /(===|!==|==|!=)\s*texts\b/,
  /\btexts\.[\w.[\]"'-]+\s*(===|!==|==|!=)/,
  /\b(says|why|message|detail)\s*(===|!==|==|!=)\s*(["'`]\w|texts|says)/,
  /\b(says|why|message|detail|text)\??\.(startsWith|endsWith|includes|match|search)\(/,
  /\.test\((says|why|message|detail|error|text)\b/,
];

test("no text is compared in code", () => {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  assert.ok(files.length > 40, `${files.length}`);
  for (const file of files) {
    readFileSync(SOURCES + file, "utf8")
      .split("\n")
      .forEach((line, at) => assert.ok(!COMPARED.some((pattern) => pattern.test(line)), `${file}:${at + 1}: ${line}`));
  }
  for (const line of ["if (notice?.says === texts.noPlace)", "/full/.test(message)", 'why.startsWith("the room")']) {
    assert.ok(
      COMPARED.some((pattern) => pattern.test(line)),
      line,
    );
  }
});

test("each reason has a line with a way on, in each language", async () => {
  const reasons = Object.keys(en.reasons) as Reason[];
  assert.deepEqual(Object.keys(de.reasons), reasons);
  for (const language of ["en", "de"]) {
    await speakLanguage(language);
    for (const reason of reasons) {
      const { says, ways } = refusalFor(reason);
      assert.ok(says.length > 10 && /[.!?]$/.test(says), `${language}, ${reason}: ${says}`);
      assert.ok(ways.length > 0, reason);
    }
  }
  await speakLanguage("en");
});

test("the first way on is that which helps", () => {
  const first: Partial<Record<Reason, Way>> = {
    "invite-expired": "start",
    "invite-replaced": "start",
    "invite-damaged": "start",
    "invite-version": "reload",
    "password-needed": "start",
    "wrong-password": "start",
    "stage-full": "watch",
    "stage-closed": "again",
    locked: "again",
    "not-let-in": "again",
    "no-answer": "again",
    "room-version": "reload",
    "other-version": "reload",
    "not-open": "again",
    "not-yet": "again",
    "room-full": "again",
    "too-many-rooms": "again",
    "other-origin": "again",
    "host-present": "guest",
    unreachable: "again",
    replaced: "rejoin",
    removed: "open",
    ended: "open",
    "not-loaded": "reload",
    "open-elsewhere": "guest",
    "no-browser": "copy",
    insecure: "watch",
    denied: "again",
  };
  for (const [reason, way] of Object.entries(first)) assert.equal(refusalFor(reason as Reason).ways[0], way, reason);
  const wanting = (Object.keys(en.reasons) as Reason[]).filter((reason) => asksPassword(refusalFor(reason)));
  assert.deepEqual(wanting, ["password-needed", "wrong-password"]);
});

test("what a browser says stands behind the line, an unknown error alone", () => {
  assert.equal(refusalOf(new Refused("no-camera", "Overheated")).says, `${en.reasons["no-camera"]} (Overheated)`);
  assert.equal(refusalOf(new Refused("locked", "the room is locked")).says, en.reasons.locked);
  assert.deepEqual(refusalOf(new Error("The moon is in the way.")).says, "The moon is in the way.");
});

test("an outage that no further attempt ends is told as such", () => {
  const session = new Session({ changed() {}, heard() {} });
  session.snapshot = { peer: "me" } as Snapshot;
  const told = (reason: Told | null) => {
    hear(session, { what: "rendezvous", up: reason === null, reason, why: null, labels: {}, others: 0 });
    return session.rejected;
  };
  for (const reason of ["other-version", "bad-proof"] as const) assert.equal(told(reason), en.rejected[reason]);
  for (const reason of ["unreachable", "silent", "slept", "closing", "not-open"] as const)
    assert.equal(told(reason), null, reason);
  assert.equal(told(null), null);
});

test("the language is the first that the page has, and may change", async () => {
  assert.equal(languageOf(["de-CH", "en"]), "de");
  assert.equal(languageOf(["fr", "EN-us", "de"]), "en");
  assert.equal(languageOf(["constructor", "fr"]), "en");
  assert.equal(languageOf([]), "en");
  const loading = speakLanguage("de");
  await speakLanguage("en");
  await loading;
  assert.equal(texts, en, "the language that was wanted last");
  await speakLanguage("de-AT");
  assert.equal(texts, de);
  await speakLanguage("xx");
  assert.equal(texts, en);
});

/** The paths of all texts, with what stands there. */
function* leaves(of: object, path: string[] = []): Generator<[string, unknown]> {
  for (const [key, value] of Object.entries(of)) {
    if (value !== null && typeof value === "object") yield* leaves(value, [...path, key]);
    else yield [[...path, key].join("."), value];
  }
}

test("each text is translated, but for names", () => {
  const english = new Map(leaves(en));
  const same = [...leaves(de satisfies Texts)].filter(
    ([path, text]) => typeof text === "string" && english.get(path) === text,
  );
  const names = ["title", "linkHint", "chat", "keys.0.0", "keys.1.0", "keys.2.0", "keys.3.0", "keys.4.0", "keys.4.1"];
  const more = ["keys.5.0", "keys.6.0", "keys.7.0", "keys.9.0", "keys.10.0"];
  assert.deepEqual(
    same.map(([path]) => path),
    [...names, ...more],
  );
});
