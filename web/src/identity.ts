// The secret key of a peer. A reload in the same tab is the same peer. A duplicated tab gets a copy of the storage: a
// lock, named by a hash of the key, tells that the key is in use, and the second tab makes a key of its own.

/** Where the key is kept. */
const KEY = "plenary-identity";
const KEY_LEN = 32;
/** Tries for the lock, and the wait between them: the page before a reload may not have let go yet. */
const TRIES = 5;
const TRY_MS = 100;

export class Identity {
  private constructor(
    readonly secret: Uint8Array<ArrayBuffer>,
    /** Lets others use the key again. */
    readonly release: () => void,
  ) {}

  /** The key of this tab, or a new one if another tab, or another room of this page, uses it. */
  static async take(): Promise<Identity> {
    const kept = load();
    if (kept) {
      const release = await lockKey(kept);
      if (release) return new Identity(kept, release);
    }
    const made = crypto.getRandomValues(new Uint8Array(KEY_LEN));
    try {
      sessionStorage.setItem(KEY, btoa(String.fromCharCode(...made)));
    } catch {
      // storage is blocked: a reload is another peer
    }
    return new Identity(made, (await lockKey(made)) ?? (() => {}));
  }
}

function load(): Uint8Array<ArrayBuffer> | null {
  try {
    const kept = Uint8Array.from(atob(sessionStorage.getItem(KEY) ?? ""), (char) => char.charCodeAt(0));
    return kept.length === KEY_LEN ? kept : null;
  } catch {
    return null;
  }
}

/** Takes the lock of a key. */
async function lockKey(secret: Uint8Array<ArrayBuffer>): Promise<(() => void) | null> {
  if (!crypto.subtle) return () => {};
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", secret));
  return lock(`plenary-${btoa(String.fromCharCode(...hash))}`);
}

/**
 * Takes a lock, and returns what releases it; null if another tab has it, or another room of this page. The browser
 * releases it with the page. Pages without https have no locks, and get what they ask for.
 */
export async function lock(name: string): Promise<(() => void) | null> {
  for (let at = 0; at < TRIES; at++) {
    const release = await tryLock(name);
    if (release) return release;
    await new Promise((resolve) => setTimeout(resolve, TRY_MS));
  }
  return null;
}

function tryLock(name: string): Promise<(() => void) | null> {
  return new Promise((resolve) => {
    const hold = (taken: Lock | null) => {
      if (!taken) return resolve(null);
      return new Promise<void>((release) => resolve(() => release()));
    };
    if (!navigator.locks) return resolve(() => {});
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(() => resolve(() => {}));
  });
}
