/** What a program may set, as properties of `gotalk`. The file that makes that object adds the rest of them. */
export const env = {
  /** Warnings on the console. On if the script was loaded from this machine. */
  developmentMode: false,
  /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
  defaultResponderAddress: "",
};

export function warn(err: unknown): void {
  if (env.developmentMode) console.warn("gotalk:", err);
}

// Where the script came from; the page's own address serves as well to complete an address.
let base: URL | undefined;

// Undefined for data: and blob:, which lead nowhere.
const parseURL = (s: string | undefined): URL | undefined => (s && new URL(s).host ? new URL(s) : undefined);

export const isLocal = (url: string): boolean =>
  /(^|\.)local(host)?$|^127\.|^\[::1]/.test(new URL(url).hostname);

const origin = (u: URL): string => (u.protocol == "https:" ? "wss://" : "ws://") + u.host;

/** Notes which script this is, if one is running, and what follows from that. */
export function setScript(src: string | undefined): void {
  base = parseURL(src);
  if (!base) return;
  env.defaultResponderAddress = origin(base) + base.pathname.replace(/[^/]*$/, "");
  env.developmentMode = isLocal(src!);
}

/** The URL to connect to for an address as users give it. Throws if there is none. */
export function resolve(addr: string | null | undefined): string {
  addr ||= env.defaultResponderAddress;
  if (!addr) throw new Error("address not specified");
  const from = base || parseURL(globalThis.location?.href);
  // WebSockets take http: for ws: by themselves.
  return from && !/^(ws|http)s?:\//i.test(addr) ? new URL(addr.replace(/^(?!\/)/, "/"), origin(from)).href : addr;
}
