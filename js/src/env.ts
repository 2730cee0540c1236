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
let base: string | undefined;

// Empty for data: and blob:, which lead nowhere.
const withHost = (url: string | undefined): string | undefined => url && new URL(url).host && url;

export const isLocal = (url: string): boolean =>
  /(^|\.)local(host)?$|^127\.|^\[::1]/.test(new URL(url).hostname);

/** The URL of a WebSocket, relative to a page or a script. */
const webSocketURL = (path: string, from: string): string => new URL(path, from).href.replace(/^http/, "ws");

/** Notes which script this is, if one is running, and what follows from that. */
export function setScript(src: string | undefined): void {
  base = withHost(src);
  if (!base) return;
  env.defaultResponderAddress = webSocketURL(".", base);
  env.developmentMode = isLocal(base);
}

/** The URL to connect to for an address as users give it. Throws if there is none. */
export function resolve(addr: string | null | undefined): string {
  addr ||= env.defaultResponderAddress;
  if (!addr) throw Error("address not specified");
  const from = base || withHost(globalThis.location?.href);
  // WebSockets take http: for ws: by themselves.
  return from && !/^(ws|http)s?:\//i.test(addr) ? webSocketURL(addr.replace(/^\/?/, "/"), from) : addr;
}
