// What a user has chosen, kept for the next visit in this browser.

const KEY = "plenary-choices";
const NAME_LEN_MAX = 64;

export interface Choices {
  name: string;
  /** Ids of devices; empty for the system's default. */
  camera: string;
  microphone: string;
  loudspeaker: string;
  echo: boolean;
  noise: boolean;
  gain: boolean;
  isCameraOn: boolean;
  isMicrophoneOn: boolean;
}

const FIRST: Choices = {
  name: "",
  camera: "",
  microphone: "",
  loudspeaker: "",
  echo: true,
  noise: true,
  gain: true,
  isCameraOn: true,
  isMicrophoneOn: true,
};

/** Reads the choices; anything missing or malformed is as at the first visit. */
export function loadChoices(): Choices {
  let kept: Partial<Record<keyof Choices, unknown>> = {};
  try {
    const parsed: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (parsed && typeof parsed === "object") kept = parsed;
  } catch {
    // storage is blocked, or holds something else
  }
  const usable = Object.entries(kept).filter(([key, value]) => typeof value === typeof FIRST[key as keyof Choices]);
  const choices = { ...FIRST, ...Object.fromEntries(usable) };
  choices.name = choices.name.slice(0, NAME_LEN_MAX);
  return choices;
}

export function saveChoices(choices: Choices): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(choices));
  } catch {
    // storage is blocked or full: the choices last as long as the page
  }
}
