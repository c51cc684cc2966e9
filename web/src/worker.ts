// The worker: peer, websocket and encoded frames. The window keeps the connections, which workers can't have.

import { SLOTS } from "./codecs.js";
import { type Leg, labelled, type ToWindow, type ToWorker } from "./messages.js";
import { Module, nowUs } from "./module.js";
import { Outlet } from "./outlet.js";
import { OwnSender, toDbov } from "./own.js";
import { Refused } from "./refused.js";
import { Dialler, type Socket } from "./socket.js";
import type { Ask, Call } from "./wire.js";

/** The peer's own interval, in milliseconds: it counts lateness by it. */
const TICK_MS = 25;

const window = (message: ToWindow, transfer: Transferable[] = []) => postMessage(message, { transfer });
/** Receivers by leg, for keyframe requests. */
const receivers = new Map<string, RTCRtpScriptTransformer>();
/** Slots that this page sends in, by leg. */
const outlets = new Map<string, Outlet>();
/** Links that this page feeds: the window has been asked to give them dummy tracks. */
const fed = new Set<number>();
/** Encoders of this page's own stream, by leg. */
const own = new Map<string, OwnSender>();
/** The answer to the last "own-frame". */
let answered: Uint8Array<ArrayBuffer> | null = null;
/** Whether the last "frame" may be decoded. */
let mayBeDecoded = false;
let peer: Module | null = null;
const dialler = new Dialler(location.origin);
let socket: Socket | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
/** When the peer's interval ends, in milliseconds of performance.now(). */
let tickAtMs = 0;

function call(call: Call): void {
  if (!peer) return;
  try {
    peer.call(call).forEach(carryOut);
  } catch (error) {
    peer = null;
    hangUp();
    window({ to: "failed", reason: error instanceof Refused ? error.reason : "lost", why: String(error) });
    return;
  }
  schedule();
}

/** Arms the timer for the end of the interval, or for what is due before. Calls between don't put it off. */
function schedule(): void {
  clearTimeout(timer);
  const dueMs = peer ? (peer.dueUs() - nowUs()) / 1000 : Infinity;
  timer = setTimeout(tick, Math.max(0, Math.min(tickAtMs - performance.now(), dueMs)));
}

function tick(): void {
  tickAtMs = performance.now() + TICK_MS;
  call({ call: "tick" });
}

function carryOut(ask: Ask): void {
  switch (ask.ask) {
    case "dial":
      dial(ask.url);
      break;
    case "hang-up":
      hangUp();
      break;
    case "transmit":
      socket?.send(ask.bytes);
      break;
    case "offer":
      window({ to: "offer", link: ask.link });
      break;
    case "answer":
      window({ to: "answer", link: ask.link, sdp: ask.sdp });
      break;
    case "accept":
      window({ to: "accept", link: ask.link, sdp: ask.sdp });
      break;
    case "restart":
      window({ to: "restart", link: ask.link, offer: ask.offer });
      break;
    case "paths":
      window({ to: "paths", link: ask.link, candidates: ask.candidates });
      break;
    case "turn":
      window({ to: "turn", server: { urls: ask.urls, username: ask.username, credential: ask.password } });
      break;
    case "close":
      forget(ask.link);
      window({ to: "close", link: ask.link });
      break;
    case "send":
      window({ to: "send", link: ask.link, channel: ask.channel, bytes: ask.bytes }, [ask.bytes.buffer]);
      break;
    case "frame":
      if (!fed.has(ask.link)) {
        fed.add(ask.link);
        window({ to: "feed", link: ask.link });
      }
      outletOf(ask.link, ask.slot).push(ask.data, ask.atUs);
      break;
    case "keyframe-wanted":
      receivers
        .get(`${ask.link}/${ask.slot}`)
        ?.sendKeyFrameRequest()
        .catch(() => {});
      break;
    case "show":
      window({ to: "show", shown: ask.shown });
      break;
    case "send-own":
      window({ to: "send-own", links: ask.links });
      break;
    case "picture":
      window({ to: "picture", format: ask.format });
      break;
    case "own-keyframe":
      own.forEach((sender) => sender.wantKey());
      break;
    case "own-frame":
      answered = ask.data;
      break;
    case "decode":
      mayBeDecoded = true;
      break;
    case "event":
      window({ to: "event", event: { ...JSON.parse(ask.event), ...JSON.parse(ask.aside) } });
      break;
    case "keys":
      window({ to: "keys", keys: ask.keys }, [ask.keys.buffer]);
      break;
    case "farewell":
      window({ to: "farewell", bytes: ask.bytes }, [ask.bytes.buffer]);
      break;
    case "snapshot":
      window({ to: "snapshot", snapshot: labelled({ ...JSON.parse(ask.room), ...JSON.parse(ask.page) }) });
      break;
  }
}

/** The outlet of a leg. */
function outletOf(link: number, slot: number): Outlet {
  const leg = `${link}/${slot}`;
  const known = outlets.get(leg);
  if (known) return known;
  const kind = slot % 2 === 0 ? "video" : "audio";
  const outlet = new Outlet(kind, () => call({ call: "keyframe-wanted", link, slot }));
  outlets.set(leg, outlet);
  return outlet;
}

/** A link has ended: nothing of it is kept. */
function forget(link: number): void {
  for (let slot = 0; slot < SLOTS; slot++) {
    const leg = `${link}/${slot}`;
    outlets.get(leg)?.end();
    for (const legs of [receivers, outlets, own]) legs.delete(leg);
  }
  fed.delete(link);
}

function dial(url: string): void {
  hangUp();
  const { hostname, port, protocol } = new URL(url);
  // a rendezvous answers STUN on the UDP port of the same number
  window({ to: "rendezvous", stun: `stun:${hostname}:${port || (protocol === "wss:" ? 443 : 80)}` });
  try {
    socket = dialler.dial(url, {
      opened: () => call({ call: "socket-opened" }),
      frame: (bytes) => call({ call: "socket-frame", bytes }),
      closed: () => call({ call: "socket-closed" }),
    });
  } catch {
    // plain http, from a page by https
    peer = null;
    window({ to: "failed", reason: "blocked", why: "a page that came by https reaches no rendezvous by http" });
  }
}

function hangUp(): void {
  const gone = socket;
  socket = null;
  gone?.close();
}

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  switch (data.to) {
    case "join":
      try {
        peer = await Module.load(fetch(data.module));
      } catch (error) {
        window({ to: "failed", reason: "not-loaded", why: String(error) });
        return;
      }
      call({ call: "open", opening: data.opening });
      break;
    case "described":
      call({ call: "described", link: data.link, sdp: data.sdp });
      break;
    case "found":
      call({ call: "found", link: data.link, candidates: data.candidates });
      break;
    case "network-changed":
      call({ call: "network-changed" });
      break;
    case "link-up":
      call({ call: "link-up", link: data.link });
      break;
    case "link-down":
      forget(data.link);
      call({ call: "link-down", link: data.link });
      break;
    case "stats":
      call({ call: "stats", link: data.link, counts: data.counts });
      break;
    case "received":
      call({ call: "received", link: data.link, channel: data.channel, bytes: new Uint8Array(data.bytes) });
      break;
    case "dummies":
      // the link may have ended meanwhile
      if (!fed.has(data.link)) break;
      outletOf(data.link, 0).begin(data.pictures, null);
      outletOf(data.link, 1).begin(null, data.sound);
      break;
    case "sources":
      call({ call: "sources", picture: data.picture, sound: data.sound, shares: data.shares });
      break;
    case "command":
      call({ call: "command", json: data.json });
      break;
    case "line":
      call({ call: "line", line: data.line });
      break;
    case "snapshot":
      call({ call: "snapshot" });
      break;
  }
};

type EncodedFrame = RTCEncodedVideoFrame | RTCEncodedAudioFrame;

// each receiver has a transform of its own; a copy of each frame goes to the peer, and the frame to the browser's
// decoder if the peer allows that
(self as unknown as { onrtctransform: (event: { transformer: RTCRtpScriptTransformer }) => void }).onrtctransform = ({
  transformer,
}) => {
  const { link, slot, side } = transformer.options as Leg;
  if (side === "relay") {
    outletOf(link, slot).transform(transformer);
    return;
  }
  if (side === "own") {
    own.set(
      `${link}/${slot}`,
      new OwnSender(
        transformer,
        slot % 2 === 0 ? "video" : "audio",
        (capturedUs, media, data) => {
          answered = null;
          call({ call: "own-frame", link, capturedUs, media, data });
          return answered;
        },
        () => window({ to: "own-keyframe", link }),
      ),
    );
    return;
  }
  receivers.set(`${link}/${slot}`, transformer);
  const frames = (transformer.readable as ReadableStream<EncodedFrame>).getReader();
  const decoder = (transformer.writable as WritableStream<EncodedFrame>).getWriter();
  const see = async () => {
    for (let next = await frames.read(); !next.done; next = await frames.read()) {
      const frame = next.value;
      const metadata = frame.getMetadata() as { contributingSources?: number[]; audioLevel?: number };
      const level = toDbov(metadata.audioLevel);
      const csrcs = slot % 2 === 1 ? (metadata.contributingSources ?? []) : [];
      mayBeDecoded = false;
      call({ call: "frame", link, slot, level, csrcs, data: new Uint8Array(frame.data.slice(0)) });
      if (mayBeDecoded) decoder.write(frame).catch(() => {});
    }
  };
  see().catch(() => {});
};
