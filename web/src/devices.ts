// Camera, microphone, screen and video files, and what keeps a page from them.

import { codecsOf } from "./codecs.js";
import { type Reason, Refused } from "./refused.js";

/** What the user gave, and why something is missing. */
export interface Devices {
  picture: MediaStreamTrack | null;
  sound: MediaStreamTrack | null;
  missing: Refused | null;
}

/** A screen or a video file that is shown to all. */
export interface Share {
  kind: "screen" | "film";
  picture: MediaStreamTrack;
  sound: MediaStreamTrack | null;
  stop(): void;
}

/** Which devices are asked for. */
export interface Needs {
  picture: boolean;
  sound: boolean;
}

/** Which devices, by their ids, "" for the system's default, and how the sound is cleaned. */
export interface Wanted {
  camera: string;
  microphone: string;
  echo: boolean;
  noise: boolean;
  gain: boolean;
}

const FRAME_RATE = 30;

/** Whether this browser encodes H.264 for connections: without it the others see no picture. */
export function encodesPictures(): boolean {
  return codecsOf(RTCRtpSender, "video").length > 0;
}

/** Whether this browser decodes H.264 of connections: without it there is no picture to see. */
export function decodesPictures(): boolean {
  return codecsOf(RTCRtpReceiver, "video").length > 0;
}

/** Whether this browser has what every peer needs. */
export function joinsRooms(): boolean {
  return "RTCPeerConnection" in globalThis && "RTCRtpScriptTransform" in globalThis && "Worker" in globalThis;
}

const pictureOf = ({ camera }: Wanted): MediaTrackConstraints => ({
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: FRAME_RATE },
  ...(camera ? { deviceId: { exact: camera } } : {}),
});
const soundOf = ({ microphone, echo, noise, gain }: Wanted): MediaTrackConstraints => ({
  echoCancellation: echo,
  noiseSuppression: noise,
  autoGainControl: gain,
  ...(microphone ? { deviceId: { exact: microphone } } : {}),
});

/**
 * Opens camera and microphone, or as much of them as there is. To be called at a click: browsers ask the user. What it
 * has opened is closed when `life` is aborted, and what the browser gives only after that is closed at once.
 *
 * @throws {Refused} if there is neither.
 */
export async function openDevices(wanted: Wanted, needs: Needs, life: AbortSignal): Promise<Devices> {
  if (!navigator.mediaDevices) throw new Refused("insecure");
  const video = needs.picture && encodesPictures() ? pictureOf(wanted) : false;
  const audio = needs.sound ? soundOf(wanted) : false;
  const none = encodesPictures() ? null : new Refused(decodesPictures() ? "no-encoder" : "no-pictures");
  if (!video && !audio) return { picture: null, sound: null, missing: none };
  try {
    return tracks(await open({ audio, video }, life), none);
  } catch (error) {
    // a device that was chosen once and is gone now: another one
    if (isOf(error, "OverconstrainedError") && (wanted.camera || wanted.microphone)) {
      return openDevices({ ...wanted, camera: "", microphone: "" }, needs, life);
    }
    if (!video || !audio) throw refusalFor(error, video ? "camera" : "microphone");
    if (isDenied(error)) return openAllowed(audio, video, error, life);
  }
  const [sound, picture] = await Promise.allSettled([open({ audio }, life), open({ video }, life)]);
  if (sound.status === "fulfilled")
    return tracks(sound.value, picture.status === "rejected" ? refusalFor(picture.reason, "camera") : null);
  if (picture.status === "fulfilled") return tracks(picture.value, refusalFor(sound.reason, "microphone"));
  throw refusalFor(isBusy(picture.reason) ? picture.reason : sound.reason, "both");
}

/** @throws {DOMException} the browser's, or an AbortError if `life` was aborted. */
async function open(constraints: MediaStreamConstraints, life: AbortSignal): Promise<MediaStream> {
  life.throwIfAborted();
  const stream = await navigator.mediaDevices.getUserMedia(constraints);
  const close = () => stream.getTracks().forEach((track) => track.stop());
  life.addEventListener("abort", close);
  if (life.aborted) close();
  life.throwIfAborted();
  return stream;
}

const isOf = (error: unknown, ...names: string[]) => error instanceof DOMException && names.includes(error.name);
const isDenied = (error: unknown) => isOf(error, "NotAllowedError", "SecurityError");
/** Whether another program uses the device. */
const isBusy = (error: unknown) => isOf(error, "NotReadableError", "AbortError");

/**
 * Opens the one device of two that the browser allows. A user who has closed the browser's question without an answer
 * isn't asked again.
 */
async function openAllowed(
  audio: MediaTrackConstraints,
  video: MediaTrackConstraints,
  denied: unknown,
  life: AbortSignal,
): Promise<Devices> {
  const [camera, microphone] = await Promise.all([permissionOf("camera"), permissionOf("microphone")]);
  const isLeft = (one: string, other: string) => one === "granted" || (one === "prompt" && other === "denied");
  const openIf = (isAsked: boolean, constraints: MediaStreamConstraints) =>
    isAsked ? open(constraints, life).catch(() => null) : null;
  const sound = await openIf(isLeft(microphone, camera), { audio });
  if (sound) return tracks(sound, new Refused("denied-camera"));
  const picture = await openIf(isLeft(camera, microphone), { video });
  if (picture) return tracks(picture, new Refused("denied-microphone"));
  throw refusalFor(denied, "both");
}

/** What the browser has noted of the user's answer. Browsers that tell nothing ask a second time. */
async function permissionOf(name: "camera" | "microphone"): Promise<PermissionState> {
  return navigator.permissions.query({ name: name as PermissionName }).then(
    ({ state }) => state,
    () => "granted",
  );
}

/** Opens a screen or window, with its sound if the browser has it; null if the user chose none. */
export async function openScreen(): Promise<Share | null> {
  if (!navigator.mediaDevices) throw new Refused("insecure");
  if (!navigator.mediaDevices.getDisplayMedia) throw new Refused("no-screens");
  if (!encodesPictures()) throw new Refused("no-encoder");
  try {
    return shareOf(
      "screen",
      await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: FRAME_RATE }, audio: true }),
    );
  } catch (error) {
    if (isDenied(error)) return null;
    throw new Refused("no-screen");
  }
}

// not in TypeScript's library
interface CapturedVideo extends HTMLVideoElement {
  captureStream?: () => MediaStream;
  mozCaptureStream?: () => MediaStream;
}

/** Plays a video file of the user, for all. It is heard here as well. */
export async function openFilm(file: File): Promise<Share> {
  if (!encodesPictures()) throw new Refused("no-encoder");
  const film = document.createElement("video") as CapturedVideo;
  const capture = film.captureStream ?? film.mozCaptureStream;
  if (!capture) throw new Refused("no-films");
  const url = URL.createObjectURL(file);
  film.src = url;
  film.playsInline = true;
  const end = () => {
    film.pause();
    film.removeAttribute("src");
    URL.revokeObjectURL(url);
  };
  try {
    await film.play();
    const share = shareOf("film", capture.call(film));
    if (!share) throw new Refused("bad-film");
    const { stop } = share;
    film.onended = () => share.picture.dispatchEvent(new Event("ended"));
    const stopped = () => {
      stop();
      end();
    };
    return { ...share, stop: stopped };
  } catch {
    end();
    throw new Refused("bad-film");
  }
}

function shareOf(kind: Share["kind"], stream: MediaStream): Share | null {
  const [picture, sound = null] = [stream.getVideoTracks()[0], stream.getAudioTracks()[0]];
  if (!picture) return null;
  return { kind, picture, sound, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

/** One sound of two, in place of which a peer sends one. */
export class Mixed {
  readonly #context = new AudioContext();
  readonly track: MediaStreamTrack | null;

  constructor(sounds: readonly MediaStreamTrack[]) {
    const out = this.#context.createMediaStreamDestination();
    for (const sound of sounds) this.#context.createMediaStreamSource(new MediaStream([sound])).connect(out);
    this.track = out.stream.getAudioTracks()[0] ?? null;
  }

  close(): void {
    this.track?.stop();
    void this.#context.close();
  }
}

/** Plays three tones on a loudspeaker, the system's default for "". */
export async function playTone(loudspeaker: string): Promise<void> {
  const context = new AudioContext();
  const out = context.createMediaStreamDestination();
  const player = new Audio();
  player.srcObject = out.stream;
  if (loudspeaker && "setSinkId" in player) await player.setSinkId(loudspeaker).catch(() => {});
  await player.play();
  [440, 554, 659].forEach((hz, at) => {
    const [tone, volume] = [context.createOscillator(), context.createGain()];
    const begin = context.currentTime + 0.1 + 0.25 * at;
    tone.frequency.value = hz;
    volume.gain.setValueAtTime(0, begin);
    volume.gain.linearRampToValueAtTime(0.2, begin + 0.02);
    volume.gain.linearRampToValueAtTime(0, begin + 0.3);
    tone.connect(volume).connect(out);
    tone.start(begin);
    tone.stop(begin + 0.3);
  });
  await new Promise((resolve) => setTimeout(resolve, 1200));
  player.pause();
  await context.close();
}

function tracks(stream: MediaStream, missing: Refused | null): Devices {
  return { picture: stream.getVideoTracks()[0] ?? null, sound: stream.getAudioTracks()[0] ?? null, missing };
}

const DENIED = { camera: "denied-camera", microphone: "denied-microphone", both: "denied" } as const;
const BUSY = { camera: "busy-camera", microphone: "busy-microphone", both: "busy" } as const;
const NONE = { camera: "no-camera", microphone: "no-microphone", both: "no-devices" } as const;

/** Why a device, or both, can't be had. */
function refusalFor(error: unknown, missing: "camera" | "microphone" | "both"): Refused {
  if (isDenied(error)) return new Refused(DENIED[missing]);
  if (isBusy(error)) return new Refused(BUSY[missing]);
  const reason: Reason = NONE[missing];
  if (isOf(error, "NotFoundError", "OverconstrainedError")) return new Refused(reason);
  return new Refused(reason, error instanceof Error ? error.message : String(error));
}
