import { env } from "./env";

// Where the script came from; the page's own address serves as well to complete an address.
let base: URL | undefined;

function parseURL(s: string | undefined): URL | undefined {
  try {
    const u = new URL(s!);
    return u.host ? u : undefined; // data: and blob: lead nowhere
  } catch {}
}

const origin = (u: URL): string => (u.protocol == "https:" ? "wss://" : "ws://") + u.host;

/** Notes which script this is, if one is running, and what follows from that. */
export function setScript(src: string | undefined): void {
  base = parseURL(src);
  if (!base) return;
  env.defaultResponderAddress = origin(base) + base.pathname.replace(/[^/]*$/, "");
  env.developmentMode = /^(localhost|127\.0\.0\.1|\[::1\])$|\.local(host)?$/.test(base.hostname);
}

/** The URL to connect to for an address as users give it. Throws if there is none. */
export function resolve(addr: string | null | undefined): string {
  addr ||= env.defaultResponderAddress;
  if (!addr) throw new Error("address not specified");
  if (/^(ws|http)s?:\//i.test(addr)) return addr.replace(/^http/i, "ws");
  const from = base || parseURL(globalThis.location?.href);
  if (!from) return addr;
  if (addr.startsWith("//")) return origin(from).replace(/\/\/.*/, addr);
  return origin(from) + (addr.startsWith("/") ? "" : "/") + addr;
}
