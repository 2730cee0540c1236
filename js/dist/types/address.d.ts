/** Notes which script this is, if one is running, and what follows from that. */
export declare function setScript(src: string | undefined): void;
/** The URL to connect to for an address as users give it. Throws if there is none. */
export declare function resolve(addr: string | null | undefined): string;
