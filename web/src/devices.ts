// Camera, microphone and screen, and what keeps a page from them: each refusal is a line for the user.

import { codecsOf } from "./codecs.js";
import { texts } from "./texts.js";

/** What the user gave, and a line about what is missing. */
export interface Devices {
  picture: MediaStreamTrack | null;
  sound: MediaStreamTrack | null;
  says: string | null;
}

const SOUND: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const PICTURE: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/** Whether this browser encodes H.264 for connections: without it the others see no picture. */
export function encodesPictures(): boolean {
  return codecsOf(RTCRtpSender, "video").length > 0;
}

/** Whether this browser decodes H.264 of connections: without it there is no picture to see. */
export function decodesPictures(): boolean {
  return codecsOf(RTCRtpReceiver, "video").length > 0;
}

/**
 * Opens camera and microphone, or as much of them as there is. To be called at a click: browsers ask the user.
 *
 * @throws {Error} with a line for the user, if there is neither.
 */
export async function openDevices(): Promise<Devices> {
  if (!navigator.mediaDevices) throw new Error(texts.insecure);
  const video = encodesPictures() ? PICTURE : false;
  const none = video ? null : decodesPictures() ? texts.noEncoder : texts.noPictures;
  try {
    return tracks(await navigator.mediaDevices.getUserMedia({ audio: SOUND, video }), none);
  } catch (error) {
    // a denied camera is denied with the microphone: only what is missing or busy is left out
    if (!(error instanceof DOMException) || error.name === "NotAllowedError") throw refusal(error);
  }
  const [sound, picture] = await Promise.allSettled([
    navigator.mediaDevices.getUserMedia({ audio: SOUND }),
    video ? navigator.mediaDevices.getUserMedia({ video }) : Promise.reject(new DOMException("", "NotFoundError")),
  ]);
  if (sound.status === "fulfilled") return tracks(sound.value, none ?? texts.noCamera);
  if (picture.status === "fulfilled") return tracks(picture.value, texts.noMicrophone);
  throw refusal(sound.reason);
}

/** Opens a screen or window, with its sound if the browser has it; null if the user chose none. */
export async function openScreen(): Promise<Devices | null> {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new Error(texts.insecure);
  if (!encodesPictures()) throw new Error(texts.noEncoder);
  try {
    return tracks(await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 30 }, audio: true }), null);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") return null;
    throw refusal(error);
  }
}

function tracks(stream: MediaStream, says: string | null): Devices {
  return { picture: stream.getVideoTracks()[0] ?? null, sound: stream.getAudioTracks()[0] ?? null, says };
}

function refusal(error: unknown): Error {
  const name = error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Error(texts.denied);
    case "NotFoundError":
    case "OverconstrainedError":
      return new Error(texts.noDevices);
    case "NotReadableError":
    case "AbortError":
      return new Error(texts.busy);
    default:
      return new Error(`${texts.noDevices} (${error instanceof Error ? error.message : String(error)})`);
  }
}
