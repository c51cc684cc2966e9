// The browser's permission for the local network (Local Network Access): a page that came from the internet reaches
// peers and servers there only with its user's leave. What is refused vanishes silently; all else goes on without it.

/** Names of the permission: the one of Chromium since 145 and of Firefox, and an earlier one of Chromium. */
const NAMES = ["local-network", "local-network-access"];
/** Hosts of pages that are in the local network themselves, as far as their name tells. */
const LOCAL = [
  /(^|\.)(localhost|local)$/,
  /^(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\.[\d.]+$/,
  /^\[(::1|f[cd][^\]]*|fe80[^\]]*)\]$/,
];

/**
 * The permission, renewed by the browser; null where there is none, or where none is needed since the page is of the
 * local network itself.
 */
export async function localNetwork(host: string): Promise<PermissionStatus | null> {
  if (LOCAL.some((pattern) => pattern.test(host))) return null;
  for (const name of NAMES) {
    const status = await navigator.permissions?.query({ name: name as PermissionName }).catch(() => null);
    if (status) return status;
  }
  return null;
}
