// The user's own devices: opened before the room, changed and published in it.

import { type Devices, Mixed, type Needs, openDevices, openFilm, openScreen, type Share } from "../devices.js";
import type { Refused } from "../refused.js";
import type { Room } from "../room.js";
import { texts } from "../texts.js";
import { type Choices, loadChoices, saveChoices } from "./choices.js";

/** Devices that can be chosen, by kind. */
export interface Lists {
  camera: MediaDeviceInfo[];
  microphone: MediaDeviceInfo[];
  loudspeaker: MediaDeviceInfo[];
}

export type Picked = keyof Lists;

/**
 * Interval at which the devices are listed while any is open, in milliseconds. Browsers tell of a microphone that a
 * sound server lets go, as with Bluetooth, only when they are asked for the list. A guess.
 */
const LIST_MS = 3000;

export class Capture {
  picture: MediaStreamTrack | null = null;
  sound: MediaStreamTrack | null = null;
  share: Share | null = null;
  /** Whether devices have been asked for. */
  isOpen = false;
  /** Whether switches are for this room alone, and not kept as the choice for the next one. */
  isInRoom = false;
  /** Why something is missing. */
  missing: Refused | null = null;
  lists: Lists = { camera: [], microphone: [], loudspeaker: [] };
  #room: Room | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Whether a camera was there, and was unplugged. */
  #isCameraLost = false;
  #mixed: { of: string; mixed: Mixed } | null = null;
  /** Operations on devices, one after the other. */
  #turn: Promise<void> = Promise.resolve();
  /** Aborted by `close`, and with it all devices that were opened or asked for until then. */
  #life = new AbortController();

  constructor(
    readonly choices: Choices,
    private readonly onChange: () => void,
    /** Hears of a device that was unplugged, and until when it is missed. */
    private readonly onLost: (says: string, isMissed: () => boolean) => void,
  ) {}

  /** Asks for camera and microphone, which stay closed if `close` comes first; throws {@link Refused}. */
  open(): Promise<void> {
    return this.#next(async (life) => {
      if (this.isOpen) return;
      const needs = { picture: this.choices.isCameraOn, sound: true };
      this.#take(await openDevices(this.choices, needs, life), needs);
      this.isOpen = true;
      await this.list();
    });
  }

  /** Renews the lists of devices. Browsers name them once the user has given one. */
  async list(): Promise<void> {
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const of = (kind: MediaDeviceKind) => all.filter((one) => one.kind === kind && one.deviceId !== "");
    const lists = { camera: of("videoinput"), microphone: of("audioinput"), loudspeaker: of("audiooutput") };
    if (namesOf(lists) === namesOf(this.lists)) return;
    this.lists = lists;
    this.onChange();
  }

  /** Whether a room gets what is open. */
  get isPublished(): boolean {
    return this.#room !== null;
  }

  get isSoundOn(): boolean {
    return this.sound !== null && this.choices.isMicrophoneOn;
  }

  setName(name: string): void {
    this.choices.name = name;
    saveChoices(this.choices);
  }

  /** Turns the microphone on or off. It stays open, so that a word after it isn't lost. */
  setSound(isOn: boolean): Promise<void> {
    return this.#next(async (life) => {
      this.#choose({ isMicrophoneOn: isOn });
      if (isOn && !this.sound) await this.#reopen("sound", life);
      await this.#publish();
    });
  }

  /** Turns the camera on or off. Off, its light is off. */
  setPicture(isOn: boolean): Promise<void> {
    return this.#next(async (life) => {
      this.#choose({ isCameraOn: isOn });
      if (isOn) {
        await this.#reopen("picture", life);
      } else {
        release(this.picture);
        this.picture = null;
      }
      await this.#publish();
    });
  }

  /** Changes to another device, or to other cleaning of the sound. */
  change(changed: Partial<Choices>): Promise<void> {
    return this.#next(async (life) => {
      this.#choose(changed);
      if ("loudspeaker" in changed) this.#room?.setLoudspeaker(this.choices.loudspeaker);
      if ("camera" in changed && this.choices.isCameraOn) await this.#reopen("picture", life);
      const isSound = (["microphone", "echo", "noise", "gain"] as const).some((key) => key in changed);
      if (isSound) await this.#reopen("sound", life);
      if ("camera" in changed || isSound) await this.#publish();
    });
  }

  /** Shows a screen, or a video file, to all in place of the camera. */
  startShare(file: File | null): Promise<void> {
    return this.#next(async (life) => {
      const share = file ? await openFilm(file) : await openScreen();
      if (!share || life.aborted) return share?.stop();
      this.share?.stop();
      this.share = share;
      // the browser has a button of its own to end it, and a file ends by itself
      share.picture.addEventListener("ended", () => this.share === share && void this.stopShare());
      await this.#publish();
    });
  }

  stopShare(): Promise<void> {
    return this.#next(async () => {
      this.share?.stop();
      this.share = null;
      await this.#publish();
    });
  }

  /** Sends what is open, now and after each change. */
  publishTo(room: Room): Promise<void> {
    this.#room = room;
    return this.#next(() => this.#publish());
  }

  /** Sends nothing more, and closes all devices, those as well that the user allows later. */
  close(): void {
    this.#life.abort();
    this.#life = new AbortController();
    // what was begun may wait for the user's answer for long
    this.#turn = Promise.resolve();
    void this.#room?.unpublish();
    this.#room = null;
    clearInterval(this.#timer);
    this.share?.stop();
    this.#mixed?.mixed.close();
    this.picture = this.sound = this.share = this.#mixed = null;
    this.isOpen = false;
    this.missing = null;
    this.onChange();
  }

  /** Forgets what was switched off in the room. */
  leaveRoom(): void {
    this.isInRoom = false;
    const { isCameraOn, isMicrophoneOn } = loadChoices();
    Object.assign(this.choices, { isCameraOn, isMicrophoneOn });
  }

  /** Does something with devices after what was begun before. If `close` comes first, it ends without a word. */
  #next(act: (life: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#life;
    const failed = (error: unknown) => {
      if (!signal.aborted) throw error;
    };
    const done = this.#turn
      .then(() => (signal.aborted ? undefined : act(signal)))
      .catch(failed)
      .finally(this.onChange);
    this.#turn = done.catch(() => {});
    return done;
  }

  #choose(changed: Partial<Choices>): void {
    Object.assign(this.choices, changed);
    // what is muted in a room says nothing about the next one
    const { isCameraOn, isMicrophoneOn } = this.isInRoom ? loadChoices() : this.choices;
    saveChoices({ ...this.choices, isCameraOn, isMicrophoneOn });
  }

  /** Opens one device anew: the new one first, so that there is no gap. Phones can't have two cameras at a time. */
  async #reopen(kind: "picture" | "sound", life: AbortSignal): Promise<void> {
    const needs = { picture: kind === "picture", sound: kind === "sound" };
    const before = this[kind];
    let opened: Devices;
    try {
      opened = await openDevices(this.choices, needs, life);
    } catch (error) {
      if (!before || life.aborted) throw error;
      release(before);
      this[kind] = null;
      opened = await openDevices(this.choices, needs, life);
    }
    this.#take(opened, needs);
    release(before);
    this.isOpen = true;
    await this.list();
  }

  #take(opened: Devices, needs: Needs): void {
    if (needs.picture) {
      this.picture = opened.picture;
      this.#isCameraLost = false;
    }
    if (needs.sound) this.sound = opened.sound;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.list(), LIST_MS);
    this.missing = opened.missing;
    for (const track of [opened.picture, opened.sound]) {
      if (track) track.onended = () => this.#lost(track);
    }
  }

  /** A device was unplugged: what is left goes on. */
  #lost(track: MediaStreamTrack): void {
    if (track !== this.picture && track !== this.sound) return;
    const isPicture = track === this.picture;
    if (isPicture) this.picture = null;
    else this.sound = null;
    if (isPicture) this.#isCameraLost = true;
    const isBoth = this.#isCameraLost && !this.sound && this.choices.isCameraOn;
    const isPictureMissed = () => this.isOpen && !this.picture && this.choices.isCameraOn;
    const isSoundMissed = () => this.isOpen && !this.sound;
    if (isBoth) this.onLost(texts.lostBoth, () => isPictureMissed() && isSoundMissed());
    else if (isPicture) this.onLost(texts.lostCamera, isPictureMissed);
    else this.onLost(texts.lostMicrophone, isSoundMissed);
    void this.#next(async () => {
      await this.list();
      await this.#publish();
    });
  }

  async #publish(): Promise<void> {
    const room = this.#room;
    if (this.sound) this.sound.enabled = this.choices.isMicrophoneOn;
    if (!room) return;
    const [picture, sound] = [this.share?.picture ?? this.picture, this.#sent()];
    await room.publish({ ...(picture ? { picture } : {}), ...(sound ? { sound } : {}), shares: this.share !== null });
    room.mute("picture", !picture);
    // the sound of a shared screen goes on while the microphone is off
    room.mute("sound", !this.isSoundOn && !this.share?.sound);
  }

  /** The sound that is sent: the microphone, the shared sound, or one of both. */
  #sent(): MediaStreamTrack | null {
    const sounds = [this.sound, this.share?.sound ?? null].filter((sound) => sound !== null);
    const of = sounds.map(({ id }) => id).join();
    if (this.#mixed?.of !== of) {
      this.#mixed?.mixed.close();
      this.#mixed = sounds.length > 1 ? { of, mixed: new Mixed(sounds) } : null;
    }
    return this.#mixed?.mixed.track ?? sounds[0] ?? null;
  }
}

/** What tells lists apart. */
function namesOf(lists: Lists): string {
  return JSON.stringify(
    Object.values(lists)
      .flat()
      .map(({ kind, deviceId, label }) => [kind, deviceId, label]),
  );
}

function release(track: MediaStreamTrack | null): void {
  if (!track) return;
  track.onended = null;
  track.stop();
}
