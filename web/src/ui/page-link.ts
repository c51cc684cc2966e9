// The link of the room, as the page's address brings it and a reload finds it again.

const KEY = "plenary-invite";

/** The link by which the page was opened. It leaves the address at once, so that nobody reads it off a screen. */
export function linkOfPage(): string {
  if (location.hash.length > 1) {
    const link = `${location.origin}/${location.hash}`;
    history.replaceState(null, "", location.pathname + location.search);
    keepLink(link);
    return link;
  }
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export function keepLink(link: string): void {
  try {
    sessionStorage.setItem(KEY, link);
  } catch {
    // storage is blocked: a reload needs the link again
  }
}

/** Forgets the link, so that the page begins anew. */
export function dropLink(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // nothing was kept
  }
}
