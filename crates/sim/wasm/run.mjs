// run.mjs MODULE SEED…: prints the traces of each seed, from a WebAssembly module without imports.
// run.mjs MODULE exhibit SEED PEERS UNTIL_MS [AT_MS:ACT:WHICH…]: like crates/sim/examples/exhibit.rs; to stderr, how
// much processor time a second of the room takes.
import { readFileSync } from "node:fs";

const [module, ...args] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(module), {});
const hex = (trace) => BigInt.asUintN(64, trace).toString(16).padStart(16, "0");
if (args[0] === "exhibit") exhibit(...args.slice(1));
else traces(args);

function traces(seeds) {
  const { trace, trace_in_the_rough } = instance.exports;
  for (const seed of seeds) console.log(seed, hex(trace(BigInt(seed))), hex(trace_in_the_rough(BigInt(seed))));
}

function exhibit(seed, peers, untilMs, ...script) {
  const { exhibit_create, exhibit_run, exhibit_act, exhibit_trace } = instance.exports;
  const acts = script.map((act) => act.split(":").map(Number));
  exhibit_create(BigInt(seed), Number(peers));
  const before = process.cpuUsage();
  for (let ms = 0; ms < untilMs; ms = exhibit_run(20_000) / 1000) {
    while (acts.length > 0 && acts[0][0] <= ms) exhibit_act(...acts.shift().slice(1));
  }
  const { user, system } = process.cpuUsage(before);
  console.error(`${Math.round((user + system) / untilMs)} ms of processor time for each second of the room`);
  console.log(seed, hex(exhibit_trace()));
}
