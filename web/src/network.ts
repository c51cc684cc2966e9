// Changes of this device's network, as browsers tell them. They may tell late or never: the peer in the worker notices
// by itself that nothing comes.

/** Chromium's alone, and not in TypeScript's library. Its event comes for estimates of rates, too. */
type Connection = (EventTarget & { type?: string }) | undefined;

/** Calls back whenever the browser tells of a change. Returns what ends that. */
export function watchNetwork(changed: () => void): () => void {
  const { connection } = navigator as unknown as { connection: Connection };
  let type = connection?.type;
  const judge = () => {
    if (connection?.type === type) return;
    type = connection?.type;
    if (type !== "none") changed();
  };
  addEventListener("online", changed);
  connection?.addEventListener("change", judge);
  return () => {
    removeEventListener("online", changed);
    connection?.removeEventListener("change", judge);
  };
}
