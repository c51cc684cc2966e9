// run.mjs MODULE SEED…: the trace of each seed, from a WebAssembly module that imports nothing.
import { readFileSync } from "node:fs";

const [module, ...seeds] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(module), {});
for (const seed of seeds) {
  const trace = BigInt.asUintN(64, instance.exports.trace(BigInt(seed)));
  console.log(seed, trace.toString(16).padStart(16, "0"));
}
