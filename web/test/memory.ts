// Memory of a tab: what its scripts hold, its WebAssembly, and its processes.

import { readdirSync, readFileSync } from "node:fs";

import type { CDPSession, Page } from "puppeteer-core";

/** Memory in bytes. */
export interface Memory {
  /** Scripts of the page and its workers, right after the garbage was collected. */
  scripts: number;
  /** WebAssembly of the workers. */
  wasm: number;
  /** Anonymous memory of the browser's renderers: pages of files that are shared with others don't count. */
  renderers: number;
}

/**
 * Number of measurements for each one of WebAssembly, by a walk over the whole heap: a renderer crashed in one of 170.
 */
const PER_WALK = 20;

/** Measures the memory of a page that is its browser's only one. */
export class MemoryMeter {
  #measured = 0;
  #wasm = 0;

  private constructor(
    private readonly page: Page,
    private readonly session: CDPSession,
  ) {}

  static async of(page: Page): Promise<MemoryMeter> {
    return new MemoryMeter(page, await page.createCDPSession());
  }

  async measure(): Promise<Memory> {
    const workers = this.page.workers().map(({ client }) => client);
    let scripts = await heapOf(this.session);
    for (const worker of workers) scripts += await heapOf(worker);
    if (this.#measured++ % PER_WALK === 0) {
      this.#wasm = 0;
      for (const worker of workers) this.#wasm += await wasmOf(worker);
    }
    return { scripts, wasm: this.#wasm, renderers: renderersOf(this.page) };
  }
}

async function heapOf(session: CDPSession): Promise<number> {
  await session.send("HeapProfiler.collectGarbage");
  return (await session.send("Runtime.getHeapUsage")).usedSize;
}

async function wasmOf(session: CDPSession): Promise<number> {
  const objectGroup = "memories";
  const { result } = await session.send("Runtime.evaluate", {
    expression: "WebAssembly.Memory.prototype",
    objectGroup,
  });
  const { objects } = await session.send("Runtime.queryObjects", {
    prototypeObjectId: result.objectId ?? "",
    objectGroup,
  });
  const sum = await session.send("Runtime.callFunctionOn", {
    objectId: objects.objectId ?? "",
    functionDeclaration: "function () { return this.reduce((sum, { buffer }) => sum + buffer.byteLength, 0); }",
    returnByValue: true,
  });
  await session.send("Runtime.releaseObjectGroup", { objectGroup });
  return Number(sum.result.value);
}

function renderersOf(page: Page): number {
  const group = page.browser().process()?.pid;
  let kib = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [, , processGroup] = readFileSync(`/proc/${name}/stat`, "latin1").replace(/.*\) /, "").split(" ");
      if (
        Number(processGroup) !== group ||
        !readFileSync(`/proc/${name}/cmdline`, "latin1").includes("--type=renderer")
      )
        continue;
      kib += Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${name}/status`, "latin1"))?.[1] ?? 0);
    } catch {
      // it ended meanwhile
    }
  }
  return 1024 * kib;
}
