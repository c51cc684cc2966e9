// A page on which a visitor kills parts of a simulated room and watches how it recovers.
//
// The address determines the run: `?seed=7&peers=200&acts=12000.1.0`, each act as time in ms, number and target. The
// buttons add acts; "Copy link" copies an address that shows the same run again.

import { Curve } from "./curve.js";
import { feeds, peerAt } from "./map.js";
import { Scene } from "./scene.js";
import { continents, fared, happened, roles, texts } from "./texts.js";
import { act, readView, role, state, type View } from "./view.js";
import type { Acted, FromWorker, ToWorker } from "./worker.js";

const peersOffered = [50, 200, 400];
/** Maximum number of acts that an address is read for, and that a link contains. */
const actsMax = 200;
/** Share of viewers from which on the room counts as up. */
const upShare = 0.95;
/** Peers that don't watch: speakers and candidates. */
const stageMax = 10;

function find<T extends Element>(selector: string, kind: new () => T): T {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`${selector} is missing`);
  return found;
}
const button = (selector: string) => find(selector, HTMLButtonElement);
const text = (selector: string) => find(selector, HTMLElement);

const address = new URL(location.href);
const seedText = address.searchParams.get("seed") ?? "";
const seed = /^\d{1,19}$/.test(seedText) ? BigInt(seedText) : 7n;
const wanted = Number(address.searchParams.get("peers"));
const peers = peersOffered.includes(wanted) ? wanted : 200;
const acts: Acted[] = readActs(address.searchParams.get("acts") ?? "");

function readActs(from: string): Acted[] {
  return from
    .split(",")
    .slice(0, actsMax)
    .flatMap((part) => {
      const read = /^(\d{1,8})\.(\d)\.(\d{1,4})$/.exec(part);
      return read ? [{ atMs: Number(read[1]), number: Number(read[2]), which: Number(read[3]) }] : [];
    });
}

const world = find("#world", HTMLCanvasElement);
const scene = new Scene(world);
const curve = new Curve(find("#curve", HTMLCanvasElement));
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const tell = (message: ToWorker) => worker.postMessage(message);

let view: View | undefined;
let speed = 1;
let pausedAt: number | null = null;
/** Acts of this run so far. */
const carriedOut: Acted[] = [];
/** First sentence on the latest act, and what was said after it. */
let first = "";
let lastFared = "";
let wasUp = false;

function say(line: string): void {
  const said = text("#said");
  if (said.textContent !== line) said.textContent = line;
}

worker.addEventListener("message", (event: MessageEvent<FromWorker>) => {
  const told = event.data;
  switch (told.what) {
    case "view":
      return show(readView(told.bytes), told.load);
    case "acted":
      return tellOf(told.acted, told.done);
    case "trace":
      text("#trace").textContent = `${told.trace} at ${told.atMs / 1000} s`;
      document.body.dataset["trace"] = `${told.atMs} ${told.trace}`;
      return;
    case "failed":
      say(`${texts.failed} ${told.why}`);
  }
});

function tellOf(acted: Acted, done: number): void {
  const of = acted.number === act.kill ? view?.peers[acted.which] : undefined;
  const line = happened(acted.number, acted.which, done, roles[of?.role ?? role.viewer] ?? "");
  // an act without effect starts no new observation
  first = done > 0 ? line : "";
  lastFared = "";
  say(line);
  curve.mark(acted.atMs);
  if (done > 0 && carriedOut.length < actsMax) carriedOut.push(acted);
  wasUp = true;
}

function show(now: View, load: number): void {
  view = now;
  scene.update(now);
  curve.add(now);
  const share = now.viewers > 0 ? now.seeing / now.viewers : 0;
  text("#share").textContent = `${Math.floor(100 * share)} %`;
  text("#share").dataset["is"] = share >= upShare ? "up" : share >= 0.5 ? "partly" : "down";
  text("#viewers").textContent = `${now.seeing} of ${now.viewers} viewers see the program`;
  text("#time").textContent = `${(now.timeMs / 1000).toFixed(1)} s`;
  text("#term").textContent = String(now.term);
  text("#failovers").textContent = String(now.failovers);
  text("#load").textContent = `${Math.round(100 * load)} %`;
  button("#rendezvous").textContent = now.rendezvousUp ? texts.killRendezvous : texts.reviveRendezvous;
  button("#rendezvous").dataset["is"] = now.rendezvousUp ? "up" : "down";
  button("#heal").hidden = now.cut === null;
  for (const cut of cuts) cut.disabled = now.cut !== null;
  // numbers for tests and for curious visitors
  Object.assign(document.body.dataset, { seeing: now.seeing, viewers: now.viewers, timeMs: now.timeMs });
  if (!wasUp && share >= upShare && now.viewers >= peers - stageMax) {
    wasUp = true;
    say(texts.seen(now));
  }
  if (first !== "" && now.recovery.isOver) {
    const next = fared(now);
    if (next !== lastFared) {
      lastFared = next;
      say(`${first} ${next}`);
    }
  }
}

const carryOut = (number: number, which = 0) => tell({ what: "act", number, which });
button("#mixer").addEventListener("click", () => carryOut(act.killMixer));
button("#host").addEventListener("click", () => carryOut(act.killHost));
button("#rendezvous").addEventListener("click", () =>
  carryOut(view?.rendezvousUp === false ? act.reviveRendezvous : act.killRendezvous),
);
button("#many").addEventListener("click", () => carryOut(act.killMany));
button("#newcomers").addEventListener("click", () => carryOut(act.newcomers));
button("#heal").addEventListener("click", () => carryOut(act.heal));

/** Continents in the order of their buttons, by audience. */
const cuts = [2, 0, 3, 1, 4].map((continent) => {
  const cut = document.createElement("button");
  cut.type = "button";
  cut.textContent = continents[continent] ?? "";
  cut.addEventListener("click", () => carryOut(act.cutOff, continent));
  text("#cuts").insertBefore(cut, button("#heal"));
  return cut;
});

function setSpeed(to: number): void {
  speed = to;
  tell({ what: "speed", speed: to });
  button("#pause").textContent = to === 0 ? texts.resume : texts.pause;
  for (const times of document.querySelectorAll<HTMLButtonElement>("[data-speed]")) {
    times.setAttribute("aria-pressed", String(Number(times.dataset["speed"]) === to));
  }
}
let resumes = 1;
function pause(): void {
  if (speed !== 0) resumes = speed;
  setSpeed(speed === 0 ? resumes : 0);
}
button("#pause").addEventListener("click", pause);
for (const times of document.querySelectorAll<HTMLButtonElement>("[data-speed]")) {
  times.addEventListener("click", () => setSpeed(Number(times.dataset["speed"])));
}

// a hidden tab computes nothing
document.addEventListener("visibilitychange", () => {
  if (document.hidden && speed !== 0) {
    pausedAt = speed;
    setSpeed(0);
  } else if (!document.hidden && pausedAt !== null) {
    setSpeed(pausedAt);
    pausedAt = null;
  }
});

const form = find("#run", HTMLFormElement);
find("#seed", HTMLInputElement).value = String(seed);
find("#peers", HTMLSelectElement).value = String(peers);
find("#peers", HTMLSelectElement).addEventListener("change", () => form.requestSubmit());

button("#link").addEventListener("click", () => {
  const link = new URL(location.pathname, location.href);
  link.search = `seed=${seed}&peers=${peers}`;
  const listed = carriedOut.map(({ atMs, number, which }) => `${atMs}.${number}.${which}`);
  if (listed.length > 0) link.search += `&acts=${listed.join(",")}`;
  history.replaceState(null, "", link);
  navigator.clipboard.writeText(link.href).then(
    () => say(texts.copied),
    () => say(texts.notCopied),
  );
});

/** The peer under the pointer can be killed by a click, the one that arrow keys select by Enter. */
function describe(at: number | null, of: (role: string, continent: string, feeds: number) => string): string {
  const peer = at === null ? undefined : view?.peers[at];
  if (!peer || !view || at === null) return "";
  return of(
    `${roles[peer.role]}${peer.isHost ? ", the host," : ""}`,
    continents[peer.continent] ?? "",
    feeds(view, at),
  );
}
const pointed = ({ offsetX: x, offsetY: y }: MouseEvent) =>
  view && scene.layout ? peerAt(scene.layout, view, { x, y }, Math.max(12, scene.layout.spacing)) : null;
world.addEventListener("pointermove", (event) => {
  scene.selected = pointed(event);
  text("#pointed").textContent = describe(scene.selected, texts.peer);
  world.style.cursor = scene.selected === null ? "" : "crosshair";
});
world.addEventListener("pointerleave", () => {
  scene.selected = null;
  text("#pointed").textContent = "";
});
world.addEventListener("click", (event) => {
  const peer = pointed(event);
  if (peer !== null) carryOut(act.kill, peer);
});
world.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step !== undefined && view) {
    event.preventDefault();
    const living = view.peers.flatMap((peer, at) => (peer.state === state.there ? [at] : []));
    const at = living.indexOf(scene.selected ?? -1);
    scene.selected = living[(at + step + living.length) % living.length] ?? null;
    say(describe(scene.selected, texts.selected));
  } else if (event.key === "Enter" && scene.selected !== null) {
    carryOut(act.kill, scene.selected);
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  for (const key of document.querySelectorAll<HTMLButtonElement>("[aria-keyshortcuts]")) {
    if (key.getAttribute("aria-keyshortcuts") === event.key && !key.disabled && !key.hidden) key.click();
  }
});

const still = matchMedia("(prefers-reduced-motion: reduce)");
scene.moves = !still.matches;
still.addEventListener("change", () => (scene.moves = !still.matches));

/** Draws the picture as often as the screen shows one, without motion ten times a second. */
let drawnAt = 0;
function draw(now: number): void {
  requestAnimationFrame(draw);
  if (!scene.moves && now - drawnAt < 100) return;
  drawnAt = now;
  scene.draw();
  curve.draw();
}
requestAnimationFrame(draw);
setInterval(() => {
  if (view && document.activeElement !== world) world.setAttribute("aria-label", texts.world(view));
}, 2000);

say(texts.opens);
tell({ what: "start", seed, peers, acts, speed });
