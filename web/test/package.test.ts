// The npm package as an application gets it: packed, put into another folder, and compiled against by a strict program.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("../../", import.meta.url));
const TSC = join(WEB, "node_modules/.bin/tsc");

/** Uses the package as its README shows it. */
const PROGRAM = `
import { host, join, type JoinOptions, Room, type RoomEvent } from "plenary";
import "plenary/element";
import { PlenaryRoom } from "plenary/element";

const heard: string[] = [];
const onEvent = (event: RoomEvent) => {
  if (event.what === "data") heard.push(new TextDecoder().decode(new Uint8Array(event.bytes)));
};
const options: JoinOptions = { invite: "https://example.org/#abc", name: "Ada", onEvent };
const room: Room = await join(options);
document.body.append(room.picture);
const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
const [picture, sound] = [stream.getVideoTracks()[0], stream.getAudioTracks()[0]];
await room.publish({ ...(picture && { picture }), ...(sound && { sound }) });
room.addEventListener("room", (event) => onEvent((event as CustomEvent<RoomEvent>).detail));
const { stage, frames_received } = await room.snapshot();
export const names: string[] = stage.map(({ name }) => name + frames_received);
export const invite: string | null = (await host({ title: "Talk" })).invite;

const element: PlenaryRoom = document.createElement("plenary-room");
element.invite = "https://example.org/#abc";
document.querySelector("plenary-room")?.leave();
`;

/** What the declarations must refuse. */
const WRONG = [
  `import { join } from "plenary"; join({});`,
  `import { join } from "plenary"; (await join({ invite: "" })).mute("smell", true);`,
  `import { join } from "plenary"; (await join({ invite: "" })).open();`,
  `import type { RoomEvent } from "plenary"; export const event: RoomEvent = { what: "rain" };`,
  `import "plenary/element"; document.createElement("plenary-room").invite = 5;`,
];

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "plenary-package-"));
  const said = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: WEB, encoding: "utf8" });
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "plenary"), { recursive: true });
  execFileSync("tar", [
    "-xzf",
    join(folder, said.trim().split("\n").pop() ?? ""),
    "-C",
    join(modules, "plenary"),
    "--strip-components=1",
  ]);
  // what npm would install beside it
  for (const name of Object.keys(manifest().dependencies))
    symlinkSync(join(WEB, "node_modules", name), join(modules, name));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
});

after(() => rmSync(folder, { recursive: true, force: true }));

interface Manifest {
  dependencies: Record<string, string>;
  exports: Record<string, string | Record<string, string>>;
}

/** The manifest that was packed. */
function manifest(): Manifest {
  return JSON.parse(readFileSync(join(folder, "node_modules/plenary/package.json"), "utf8"));
}

/** What the compiler says of the program, and of each wrong one. */
function compile(resolution: "bundler" | "nodenext"): string {
  const module = resolution === "bundler" ? "esnext" : "nodenext";
  const strict = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--verbatimModuleSyntax"];
  const flags = [
    "--noEmit",
    "--target",
    "es2022",
    "--lib",
    "es2023,dom,dom.iterable",
    "--skipDefaultLibCheck",
    "--pretty",
    "false",
  ];
  const files = readdirSync(folder).filter((name) => name.endsWith(".ts"));
  const args = [...strict, ...flags, "--module", module, "--moduleResolution", resolution, ...files];
  return spawnSync(TSC, args, { cwd: folder, encoding: "utf8" }).stdout;
}

test("a strict program compiles against the package, and wrong ones don't", { timeout: 60_000 }, () => {
  writeFileSync(join(folder, "app.ts"), PROGRAM);
  for (const [at, wrong] of WRONG.entries()) writeFileSync(join(folder, `wrong-${at}.ts`), wrong);
  for (const resolution of ["bundler", "nodenext"] as const) {
    const said = compile(resolution);
    const places = [...said.matchAll(/^(\S+)\(\d+,\d+\): error/gm)].map(([, file]) => file);
    assert.deepEqual(
      places,
      WRONG.map((_, at) => `wrong-${at}.ts`),
      `${resolution}: ${said}`,
    );
  }
});

test("the package has each file that it names, and those that they load", () => {
  const files = readdirSync(join(folder, "node_modules/plenary"), { recursive: true }).map(String);
  const named = Object.values(manifest().exports).flatMap((paths) =>
    typeof paths === "string" ? [] : Object.values(paths),
  );
  for (const path of [...named, "./dist/worker.js", "./dist/plenary.wasm", "./dist/index.html", "./README.md"]) {
    assert.ok(files.includes(path.replace("./", "")), path);
  }
});
