// The way to a rendezvous: a websocket, or requests that carry the same frames.
//
// Safari opens no websocket to a certificate that signs itself, even where the user has accepted it for the page. A
// page of that rendezvous may still send requests to it.

/** Websockets that may fail before they open, until requests carry the frames. One may fail by chance. */
const FAILURES_MAX = 2;
/** Path of connections carried by requests. */
const FETCH = "/fetch";
/** Length of the number before each frame in a body: its length, big endian. */
const PREFIX_LEN = 4;
/** Maximum length of a body, in bytes: the longest frame. */
const BODY_LEN_MAX = 98_368 + PREFIX_LEN;
/** Maximum time for the answer why a websocket has not opened, in milliseconds: as long as an attempt takes. */
const REASON_MS_MAX = 5000;
/** Maximum length of all frames that wait for a request, in bytes: past it the connection counts as lost. A guess. */
const WAITING_LEN_MAX = 1 << 20;

export interface SocketEvents {
  opened(): void;
  frame(bytes: Uint8Array<ArrayBuffer>): void;
  /** At most once, and nothing follows. */
  closed(): void;
}

/** One connection to a rendezvous. */
export interface Socket {
  /** Sends a frame; without effect before the connection has opened. */
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Ends the connection; no event follows. */
  close(): void;
}

/** Connects to a rendezvous, as often as asked, in the way that works. */
export class Dialler {
  /** Websockets in a row that failed before they opened; null once one has opened: then failures are outages. */
  #failures: number | null = 0;

  /** @param origin the page's own, to which it may send requests */
  constructor(private readonly origin: string) {}

  dial(url: string, events: SocketEvents): Socket {
    const { host, protocol, pathname } = new URL(url);
    const served = `${protocol === "wss:" ? "https:" : "http:"}//${host}`;
    if (served === this.origin && this.#failures !== null && this.#failures >= FAILURES_MAX) {
      // when requests fail too, the rendezvous may be away: a websocket is tried by turns
      const closed = (hasOpened: boolean) => (this.#failures = hasOpened ? FAILURES_MAX : FAILURES_MAX - 1);
      return new Requests(served + pathname + FETCH, events, closed);
    }
    const settled = (hasOpened: boolean) => {
      if (hasOpened) this.#failures = null;
      else if (this.#failures !== null) this.#failures += 1;
    };
    return new Websocket(url, events, settled, served !== this.origin);
  }
}

class Websocket implements Socket {
  readonly #socket: WebSocket;
  #isSettled = false;
  #isClosed = false;

  /**
   * @param settled called once, with whether it has opened
   * @param isElsewhere whether the rendezvous serves another page than this one, and so may not let it in
   */
  constructor(
    url: string,
    events: SocketEvents,
    private readonly settled: (hasOpened: boolean) => void,
    isElsewhere: boolean,
  ) {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#settle(true);
      events.opened();
    };
    socket.onmessage = ({ data }) => {
      // a text is no frame of the protocol: as bytes it is none either
      events.frame(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array());
    };
    socket.onclose = () => {
      const hasOpened = this.#isSettled;
      this.#settle(false);
      if (hasOpened || !isElsewhere) return events.closed();
      void reasonOf(url).then((frame) => {
        if (this.#isClosed) return;
        if (frame) events.frame(frame);
        if (!this.#isClosed) events.closed();
      });
    };
    this.#socket = socket;
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }

  close(): void {
    this.#isClosed = true;
    this.#settle(false);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #settle(hasOpened: boolean): void {
    if (!this.#isSettled) this.settled(hasOpened);
    this.#isSettled = true;
  }
}

/**
 * Asks a rendezvous why its websocket has not opened, which browsers don't tell. It answers a page that it doesn't let
 * in with the refusal, as a frame; null for anything else.
 */
async function reasonOf(url: string): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    const signal = AbortSignal.timeout(REASON_MS_MAX);
    const answer = await fetch(url.replace(/^ws/, "http"), { cache: "no-store", redirect: "error", signal });
    return answer.status === 403 ? new Uint8Array(await answer.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

/** A connection carried by requests: one waits for frames, another sends what has come together meanwhile. */
class Requests implements Socket {
  readonly #ended = new AbortController();
  #url: string | null = null;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #isSending = false;

  constructor(
    url: string,
    private readonly events: SocketEvents,
    private readonly settled: (hasOpened: boolean) => void,
  ) {
    this.#run(url).catch(() => this.#fail());
  }

  async #run(url: string): Promise<void> {
    const key = await this.#ask(url, { method: "POST" }).then((answer) => answer.text());
    this.#url = `${url}/${key}`;
    this.settled(true);
    this.events.opened();
    for (;;) {
      const answer = await this.#ask(this.#url, { method: "GET" });
      for (const frame of framesOf(await answer.arrayBuffer())) {
        if (this.#ended.signal.aborted) return;
        this.events.frame(frame);
      }
    }
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#ended.signal.aborted || !this.#url) return;
    this.#waiting.push(frame);
    const waiting = this.#waiting.reduce((sum, { length }) => sum + length, 0);
    if (waiting > WAITING_LEN_MAX) this.#fail();
    else if (!this.#isSending) this.#sendAll(this.#url).catch(() => this.#fail());
  }

  /** Sends what waits, one request after the other, so that order is kept. */
  async #sendAll(url: string): Promise<void> {
    this.#isSending = true;
    while (this.#waiting.length > 0) await this.#ask(url, { method: "POST", body: this.#nextBody() });
    this.#isSending = false;
  }

  /** As many of the frames that wait as fit into one body. */
  #nextBody(): Uint8Array<ArrayBuffer> {
    let [length, count] = [0, 0];
    for (const frame of this.#waiting) {
      const longer = length + PREFIX_LEN + frame.length;
      if (count > 0 && longer > BODY_LEN_MAX) break;
      length = longer;
      count += 1;
    }
    const body = new Uint8Array(length);
    let at = 0;
    for (const frame of this.#waiting.splice(0, count)) {
      new DataView(body.buffer).setUint32(at, frame.length);
      body.set(frame, at + PREFIX_LEN);
      at += PREFIX_LEN + frame.length;
    }
    return body;
  }

  async #ask(url: string, request: RequestInit): Promise<Response> {
    const answer = await fetch(url, { ...request, cache: "no-store", redirect: "error", signal: this.#ended.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer;
  }

  #fail(): void {
    if (this.#ended.signal.aborted) return;
    this.close();
    this.events.closed();
  }

  close(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#waiting = [];
    if (!this.#url) this.settled(false);
    // also while the page goes; without it the rendezvous waits for three pings
    else fetch(this.#url, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

function framesOf(body: ArrayBuffer): Uint8Array<ArrayBuffer>[] {
  const frames: Uint8Array<ArrayBuffer>[] = [];
  const view = new DataView(body);
  for (let at = 0; at < body.byteLength; ) {
    // a RangeError where the body is torn, which ends the connection
    const length = view.getUint32(at);
    frames.push(new Uint8Array(body, at + PREFIX_LEN, length));
    at += PREFIX_LEN + length;
  }
  return frames;
}
