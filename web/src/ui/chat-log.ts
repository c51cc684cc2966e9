// The messages of a room that this page has heard: the newest ones, in memory.

const LEN_MAX = 200;
/** Longest message, in UTF-16 units: in UTF-8 it fits into the 8 KiB that a peer may send at a time. */
export const TEXT_LEN_MAX = 2000;

export interface Message {
  id: number;
  at: Date;
  peer: string;
  /** The sender's name as it was shown then. */
  label: string;
  /** Whether the sender was the host then, or named by the host. */
  host: boolean;
  named: boolean;
  text: string;
}

export class Chat {
  messages: readonly Message[] = [];
  unread = 0;
  #count = 0;

  add(said: Pick<Message, "peer" | "label" | "host" | "named" | "text">, isSeen: boolean): void {
    const message = { ...said, text: said.text.slice(0, TEXT_LEN_MAX), id: this.#count++, at: new Date() };
    this.messages = [...this.messages, message].slice(-LEN_MAX);
    if (!isSeen) this.unread = Math.min(LEN_MAX, this.unread + 1);
  }

  /** All messages have been seen. */
  read(): void {
    this.unread = 0;
  }

  clear(): void {
    this.messages = [];
    this.unread = 0;
  }
}
