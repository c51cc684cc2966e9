// The codecs of a room, as browsers name them: H.264, constrained baseline in packetization mode 1, and Opus.

type Kind = "video" | "audio";

/** Slots of a link. */
export const SLOTS = 6;

/** Even slots carry pictures, odd ones sound. */
export const kindOf = (slot: number): Kind => (slot % 2 === 0 ? "video" : "audio");

/**
 * The formats to offer for a slot: its codec, and for pictures retransmissions in a stream of their own (RFC 4588), of
 * which a link with another browser makes use. None for pictures in a browser without H.264.
 */
export function formatsOf(kind: Kind): RTCRtpCodec[] {
  const codecs = codecsOf(RTCRtpReceiver, kind);
  const all = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  return codecs.length > 0 ? [...codecs, ...all.filter(({ mimeType }) => mimeType.toLowerCase() === "video/rtx")] : [];
}

/**
 * The codecs that a room uses, of those that this browser sends or receives: none for pictures in a browser without
 * H.264.
 */
export function codecsOf(end: typeof RTCRtpSender | typeof RTCRtpReceiver, kind: Kind): RTCRtpCodec[] {
  return end.getCapabilities(kind)?.codecs.filter(isUsed) ?? [];
}

function isUsed({ mimeType, sdpFmtpLine = "" }: RTCRtpCodec): boolean {
  if (mimeType.toLowerCase() === "audio/opus") return true;
  const isBaseline = /packetization-mode=1/.test(sdpFmtpLine) && /profile-level-id=42e0/i.test(sdpFmtpLine);
  return mimeType.toLowerCase() === "video/h264" && isBaseline;
}
