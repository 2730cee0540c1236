import type { Payload } from "./types.js";
export declare const MsgTypeSingleReq = 114;
export declare const MsgTypeStreamReq = 115;
export declare const MsgTypeStreamReqPart = 112;
export declare const MsgTypeSingleRes = 82;
export declare const MsgTypeStreamRes = 83;
export declare const MsgTypeErrorRes = 69;
export declare const MsgTypeRetryRes = 101;
export declare const MsgTypeNotification = 110;
export declare const MsgTypeHeartbeat = 104;
export declare const MsgTypeProtocolError = 102;
export declare const HeartbeatMsgMaxLoad = 65535;
/** A message header. For a heartbeat, wait is the load and size the time; for a protocol error, size is the code. */
export interface Header {
    t: number;
    id?: string;
    name?: string;
    wait: number;
    size: number;
}
export declare const utf8: (s: string) => Uint8Array<ArrayBuffer>;
/** The text of a payload. What is not UTF-8 comes out as U+FFFD. */
export declare const toText: (b: string | Uint8Array | undefined) => string;
/** The bytes of a string, or of any BufferSource without copying them. */
export declare function toBytes(v: any): Uint8Array<ArrayBuffer>;
/** A payload on its way out, not empty. A string travels as a text message if it has a WebSocket message of its own. */
export type Body = string | Uint8Array<ArrayBuffer> | undefined;
/** Undefined for an empty payload. Throws a TypeError for what is neither a string nor a BufferSource. */
export declare function pack(v: Payload): Body;
export declare function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer>;
declare function fixnum(n: number, digits: number): string;
declare function makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): string;
declare function makeHeartbeatMsg(load: number): string;
/**
 * Parses a header: yields how many bytes it wants next, is given them, and returns the header. Throws if a number is
 * malformed. A type that does not exist is parsed like a result.
 */
export declare function parser(): Generator<number, Header, string | Uint8Array<ArrayBuffer>>;
/** Parses a header in one piece, for users of protocol.binary and protocol.text. */
declare function parseMsg(v: string | BufferSource): Header;
/** The version that a conversation starts with. Throws unless v is hex digits. */
declare const parseVersion: (v: string | BufferSource) => number;
export declare const versionText: string;
/** Headers as bytes, in binary WebSocket messages. The default. */
export declare const binary: {
    versionBuf: Uint8Array<ArrayBuffer>;
    makeFixnum: (n: number, digits: number) => Uint8Array<ArrayBuffer>;
    parseVersion: typeof parseVersion;
    parseMsg: typeof parseMsg;
    /** Throws a RangeError if the name has more than 4095 bytes, or a number does not fit. */
    makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): Uint8Array<ArrayBuffer>;
    makeHeartbeatMsg: (load: number) => Uint8Array<ArrayBuffer>;
};
/** Headers as strings, in text WebSocket messages, for networks and tools that know nothing else. */
export declare const text: {
    versionBuf: string;
    makeFixnum: typeof fixnum;
    parseVersion: typeof parseVersion;
    parseMsg: typeof parseMsg;
    makeMsg: typeof makeMsg;
    makeHeartbeatMsg: typeof makeHeartbeatMsg;
};
export type Protocol = typeof binary | typeof text;
/** The message types, as character codes, the codes of protocol errors, and the two ways to write headers. */
export declare const protocol: {
    Version: number;
    MsgTypeSingleReq: number;
    MsgTypeStreamReq: number;
    MsgTypeStreamReqPart: number;
    MsgTypeSingleRes: number;
    MsgTypeStreamRes: number;
    MsgTypeErrorRes: number;
    MsgTypeRetryRes: number;
    MsgTypeNotification: number;
    MsgTypeHeartbeat: number;
    MsgTypeProtocolError: number;
    ErrorAbnormal: number;
    ErrorUnsupported: number;
    ErrorInvalidMsg: number;
    ErrorTimeout: number;
    HeartbeatMsgMaxLoad: number;
    binary: {
        versionBuf: Uint8Array<ArrayBuffer>;
        makeFixnum: (n: number, digits: number) => Uint8Array<ArrayBuffer>;
        parseVersion: typeof parseVersion;
        parseMsg: typeof parseMsg;
        /** Throws a RangeError if the name has more than 4095 bytes, or a number does not fit. */
        makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): Uint8Array<ArrayBuffer>;
        makeHeartbeatMsg: (load: number) => Uint8Array<ArrayBuffer>;
    };
    text: {
        versionBuf: string;
        makeFixnum: typeof fixnum;
        parseVersion: typeof parseVersion;
        parseMsg: typeof parseMsg;
        makeMsg: typeof makeMsg;
        makeHeartbeatMsg: typeof makeHeartbeatMsg;
    };
};
export {};
