// The sentences by which a peer refuses, read from its sources: the page knows each of them, and has a better line for it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { texts } from "../src/texts.js";
import { isStageClosed, refusalOf, rejectionOf, type Way } from "../src/ui/refusals.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const source = (path: string) => readFileSync(ROOT + path, "utf8");

/** The sentence of each variant of an error in Rust, by the variant's name. */
function sentencesOf(path: string, name: string): Record<string, string> {
  const body = new RegExp(`pub enum ${name} \\{\\n(.*?)\\n\\}`, "s").exec(source(path))?.[1] ?? "";
  const variants = [...body.matchAll(/#\[error\("(.*)"\)\]\s*(\w+)/g)];
  return Object.fromEntries(variants.map(([, sentence = "", variant = ""]) => [variant, sentence]));
}

type Line = [says: string, way: Way];

/** What the page makes of each variant; the sentence as it stands for null. */
function expect(path: string, name: string, lines: Record<string, Line | null>): void {
  const sentences = sentencesOf(path, name);
  assert.deepEqual(Object.keys(sentences).sort(), Object.keys(lines).sort(), `${path}: the variants of ${name}`);
  for (const [variant, sentence] of Object.entries(sentences)) {
    const { says, ways, asksPassword } = refusalOf(new Error(sentence));
    const line = lines[variant];
    if (line) assert.deepEqual([says, ways[0]], line, sentence);
    else assert.deepEqual([says.toLowerCase(), ways[0]], [`${sentence}.`.toLowerCase(), "again"], variant);
    assert.equal(asksPassword, /Password/.test(variant), sentence);
  }
}

test("what a host says to a newcomer is a line with a way on", () => {
  expect("crates/proto/src/message/roster.rs", "Refusal", {
    Expired: [texts.expired, "start"],
    StageFull: [texts.stageFull, "watch"],
    StageClosed: null,
    Closed: [texts.ended, "open"],
    Removed: [texts.removed, "open"],
    Locked: [texts.isLocked, "again"],
    OldInvite: [texts.replaced, "start"],
    Denied: [texts.notAdmitted, "again"],
  });
  // such a speaker joins as a viewer and asks for the floor
  const { StageClosed, ...others } = sentencesOf("crates/proto/src/message/roster.rs", "Refusal");
  assert.ok(isStageClosed(new Error(StageClosed)));
  for (const sentence of Object.values(others)) assert.ok(!isStageClosed(new Error(sentence)), sentence);
});

test("what is wrong with an invite or a password is a line with a way on", () => {
  expect("crates/proto/src/seal/invite.rs", "InviteError", {
    NotAnInvite: [texts.noLink, "start"],
    // a host that names a page elsewhere reads these
    NotAPage: null,
    LongRendezvous: null,
    Malformed: [texts.noLink, "start"],
    Version: [texts.otherVersion, "reload"],
    Expired: [texts.expired, "start"],
    PasswordNeeded: [texts.passwordWanted, "start"],
    WrongPassword: [texts.passwordWrong, "start"],
  });
});

test("what a rendezvous refuses is a line with a way on, before the room and in it", () => {
  const path = "crates/proto/src/rendezvous/mod.rs";
  expect(path, "Refusal", {
    Version: [texts.otherVersion, "reload"],
    BadProof: null,
    UnknownRoom: [texts.notOpen, "again"],
    RoomFull: [texts.full, "again"],
    TooManyRooms: [texts.tooManyRooms, "again"],
    Replaced: [texts.elsewhere, "rejoin"],
    Late: [texts.unreachable, "again"],
    Malformed: null,
    TooLong: null,
    Slow: [texts.unreachable, "again"],
    Closing: null,
    OtherOrigin: [texts.otherSite, "again"],
    NotYet: [texts.notOpen, "again"],
    HostPresent: [texts.hostElsewhere, "guest"],
    Other: null,
  });
  // those after which it isn't asked again, by a peer that has been in its room
  const isFinal = /fn is_final\(.*?\n    \}/s.exec(source(path))?.[0] ?? "";
  const final = /match self \{\s*([^=]*)=> true/.exec(isFinal)?.[1]?.match(/\w+(?= \||\s*$)/g);
  const rejections: Record<string, string> = { Version: texts.olderPage, BadProof: texts.unprovenPage, Replaced: texts.replacedPage };
  assert.deepEqual(final, Object.keys(rejections));
  for (const [variant, sentence] of Object.entries(sentencesOf(path, "Refusal"))) {
    assert.equal(rejectionOf(sentence), rejections[variant] ?? null, sentence);
  }
  const outages = sentencesOf("crates/proto/src/rendezvous/connection.rs", "Outage");
  assert.deepEqual(Object.keys(outages), ["Closed", "Silent", "Refused", "Slept", "Protocol"]);
  for (const sentence of Object.values(outages)) assert.equal(rejectionOf(sentence), null, sentence);
});

test("what the page finds out itself is a line with a way on", () => {
  const found: [string, string, string, Way][] = [
    ["crates/web/src/page.rs", "the rendezvous of the room can't be reached", texts.unreachable, "again"],
    ["crates/web/src/page.rs", "the room speaks version {version} of the protocol: reload the page", texts.otherVersion, "reload"],
    ["crates/web/src/page.rs", "the host doesn't answer: the room may be over", "The host doesn't answer: the room may be over.", "again"],
    ["web/src/worker.ts", "the page could not be loaded whole: ${error}", texts.otherVersion, "reload"],
    ["web/src/module.ts", "the module doesn't know the call ${call.call}", texts.otherVersion, "reload"],
  ];
  for (const [path, sentence, says, way] of found) {
    assert.ok(source(path).includes(sentence), `${path}: ${sentence}`);
    const refusal = refusalOf(new Error(sentence));
    assert.deepEqual([refusal.says, refusal.ways[0]], [says, way], sentence);
  }
  const own: [string, Way][] = [[texts.insecure, "watch"], [texts.denied, "again"], [texts.openElsewhere, "guest"], [texts.noBrowser, "copy"]];
  for (const [says, way] of own) {
    const refusal = refusalOf(new Error(says));
    assert.deepEqual([refusal.says, refusal.ways[0]], [says, way]);
  }
  assert.deepEqual(refusalOf(new Error("the moon is in the way")).says, "The moon is in the way.");
});
