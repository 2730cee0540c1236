/** What a program may set, as properties of `gotalk`. The file that makes that object adds the rest of them. */
export declare const env: {
    /** Warnings on the console. On if the script was loaded from this machine. */
    developmentMode: boolean;
    /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
    defaultResponderAddress: string;
};
export declare function warn(err: unknown): void;
export declare const isLocal: (url: string) => boolean;
/** Notes which script this is, if one is running, and what follows from that. */
export declare function setScript(src: string | undefined): void;
/** The URL to connect to for an address as users give it. Throws if there is none. */
export declare function resolve(addr: string | null | undefined): string;
