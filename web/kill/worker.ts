// Worker that runs the simulator, so that the page stays fluid however much there is to compute.

/** One act of a run, at a time of the room. */
export interface Acted {
  readonly atMs: number;
  readonly number: number;
  readonly which: number;
}

export type ToWorker =
  | {
      readonly what: "start";
      readonly seed: bigint;
      readonly peers: number;
      readonly acts: readonly Acted[];
      readonly speed: number;
    }
  | { readonly what: "act"; readonly number: number; readonly which: number }
  | { readonly what: "speed"; readonly speed: number };

export type FromWorker =
  | { readonly what: "view"; readonly bytes: ArrayBuffer; readonly load: number }
  | { readonly what: "acted"; readonly acted: Acted; readonly done: number }
  | { readonly what: "trace"; readonly atMs: number; readonly trace: string }
  | { readonly what: "failed"; readonly why: string };

interface Exports {
  readonly memory: WebAssembly.Memory;
  exhibit_create(seed: bigint, peers: number): void;
  exhibit_run(us: number): number;
  exhibit_act(number: number, which: number): number;
  exhibit_view(): number;
  exhibit_view_at(): number;
  exhibit_trace(): bigint;
  exhibit_panic(): number;
  exhibit_panic_len(): number;
}

/** Step of the simulator. */
const stepMs = 20;
/** Interval at which the worker computes and the page gets a new state. */
const turnMs = 50;
/** Longest part of each turn for computing: a machine that is slower shows the room more slowly. */
const computeMsMax = 40;

const send = (message: FromWorker, transfer: Transferable[] = []) => postMessage(message, { transfer });

let room: Exports | undefined;
let planned: Acted[] = [];
let speed = 1;
let timeMs = 0;
/** Room time that is due and not simulated yet. */
let dueMs = 0;
let turnedAt = 0;
let tracedAtS = 0;

addEventListener("message", (event: MessageEvent<ToWorker>) => {
  const told = event.data;
  if (told.what === "start") void start(told).catch(fail);
  else if (told.what === "speed") speed = told.speed;
  else if (room !== undefined) guarded(() => carryOut({ atMs: timeMs, number: told.number, which: told.which }));
});

async function start(told: ToWorker & { what: "start" }): Promise<void> {
  const response = await fetch(new URL("kill.wasm", self.location.href));
  if (!response.ok) throw new Error(`kill.wasm: ${response.status} ${response.statusText}`);
  // not streaming, since that needs a server that knows the type application/wasm
  const { instance } = await WebAssembly.instantiate(await response.arrayBuffer(), {});
  room = instance.exports as unknown as Exports;
  planned = [...told.acts].sort((one, other) => one.atMs - other.atMs);
  speed = told.speed;
  room.exhibit_create(told.seed, told.peers);
  turnedAt = performance.now();
  setInterval(() => guarded(turn), turnMs);
}

function turn(): void {
  if (room === undefined) return;
  const now = performance.now();
  dueMs = Math.min(dueMs + (now - turnedAt) * speed, 4 * turnMs * Math.max(speed, 1));
  turnedAt = now;
  if (speed === 0) return;
  while (dueMs >= stepMs && performance.now() - now < computeMsMax) {
    for (let next = planned[0]; next !== undefined && next.atMs <= timeMs; next = planned[0]) {
      planned.shift();
      carryOut(next);
    }
    timeMs = room.exhibit_run(1000 * stepMs) / 1000;
    dueMs -= stepMs;
    const second = Math.floor(timeMs / 1000);
    if (second > tracedAtS && timeMs % 1000 === 0) {
      tracedAtS = second;
      const trace = BigInt.asUintN(64, room.exhibit_trace()).toString(16).padStart(16, "0");
      send({ what: "trace", atMs: timeMs, trace });
    }
  }
  show((performance.now() - now) / turnMs);
}

function carryOut(acted: Acted): void {
  const done = room?.exhibit_act(acted.number, acted.which) ?? 0;
  send({ what: "acted", acted: { ...acted, atMs: timeMs }, done });
  if (speed === 0) show(0); // a paused room shows what has died
}

function show(load: number): void {
  if (room === undefined) return;
  const length = room.exhibit_view();
  const bytes = room.memory.buffer.slice(room.exhibit_view_at(), room.exhibit_view_at() + length);
  send({ what: "view", bytes, load }, [bytes]);
}

function guarded(does: () => void): void {
  try {
    does();
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  const of = room;
  room = undefined;
  const length = of?.exhibit_panic_len() ?? 0;
  const panic =
    of && length > 0 ? new TextDecoder().decode(new Uint8Array(of.memory.buffer, of.exhibit_panic(), length)) : "";
  send({ what: "failed", why: panic || String(error) });
}
