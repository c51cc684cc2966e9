// The WebAssembly module of crates/web: one peer of a room. It imports nothing; bytes go over its memory.

import { Clock } from "./clock.js";
import { Refused } from "./refused.js";
import { type Ask, type Call, decode, encode } from "./wire.js";

interface Exports {
  memory: WebAssembly.Memory;
  plenary_buffer(length: number): number;
  plenary_call(nowUs: number): number;
  plenary_asks(): number;
  plenary_due_us(): number;
  plenary_panic(): number;
  plenary_panic_len(): number;
}

const clock = new Clock();

/** Microseconds since 1970, by the clock of this peer. */
export const nowUs = () => clock.nowUs();

export class Module {
  readonly #exports: Exports;

  private constructor(exports: Exports) {
    this.#exports = exports;
  }

  static async load(from: Response | Promise<Response>): Promise<Module> {
    const { instance } = await WebAssembly.instantiateStreaming(from, {});
    return new Module(instance.exports as unknown as Exports);
  }

  /** Calls the peer; what it asks for is to be done in this order. */
  call(call: Call): Ask[] {
    const exports = this.#exports;
    const bytes = encode(call);
    try {
      const at = exports.plenary_buffer(bytes.length);
      new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
      const length = exports.plenary_call(nowUs());
      if (length < 0) throw new Refused("not-loaded", `the module doesn't know the call ${call.call}`);
      return [...this.#asks(new Uint8Array(exports.memory.buffer, exports.plenary_asks(), length))];
    } catch (error) {
      throw this.#panicked() ?? error;
    }
  }

  /** When the call "tick" is due at the latest, in microseconds since 1970. */
  dueUs(): number {
    return this.#exports.plenary_due_us();
  }

  *#asks(bytes: Uint8Array): Generator<Ask> {
    const lengths = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; ) {
      const length = lengths.getUint32(at, true);
      yield decode(bytes.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
  }

  #panicked(): Error | null {
    const { memory, plenary_panic, plenary_panic_len } = this.#exports;
    const length = plenary_panic_len();
    if (length === 0) return null;
    return new Error(new TextDecoder().decode(new Uint8Array(memory.buffer, plenary_panic(), length).slice()));
  }
}
