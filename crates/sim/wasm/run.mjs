// run.mjs MODULE SEED…: prints the traces of each seed, from a WebAssembly module without imports.
import { readFileSync } from "node:fs";

const [module, ...seeds] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(module), {});
const { trace, trace_in_the_rough } = instance.exports;
for (const seed of seeds) {
  const hex = (trace) => BigInt.asUintN(64, trace(BigInt(seed))).toString(16).padStart(16, "0");
  console.log(seed, hex(trace), hex(trace_in_the_rough));
}
