import { GotalkError, retryAfter } from "./errors.js";
import { Handlers as HandlersClass } from "./handlers.js";
import { type Protocol } from "./protocol.js";
import { Sock as SockClass } from "./sock.js";
import type { AnyOps, Callback, SockOptions } from "./types.js";
type HandlersOrOptions<O extends object> = HandlersClass<any> | SockOptions<O> | null;
/** A class that can be called without `new` as well, and extended. */
export interface SockConstructor {
    readonly prototype: SockClass<any>;
    new <O extends object = AnyOps>(handlers?: HandlersOrOptions<O>, proto?: Protocol | null): SockClass<O>;
    <O extends object = AnyOps>(handlers?: HandlersOrOptions<O>, proto?: Protocol | null): SockClass<O>;
}
export interface HandlersConstructor {
    readonly prototype: HandlersClass<any>;
    new <O extends object = AnyOps>(): HandlersClass<O>;
    <O extends object = AnyOps>(): HandlersClass<O>;
}
/** What a script tag defines, and what `import gotalk` and `require` give. */
export declare const gotalk: {
    developmentMode: boolean;
    defaultResponderAddress: string;
} & {
    /** Version of this library. */
    version: string;
    protocol: {
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
            parseVersion: (v: string | BufferSource) => number;
            parseMsg: (v: string | BufferSource) => import("./protocol.js").Header;
            makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): Uint8Array<ArrayBuffer>;
            makeHeartbeatMsg: (load: number) => Uint8Array<ArrayBuffer>;
        };
        text: {
            versionBuf: string;
            makeFixnum: (n: number, digits: number) => string;
            parseVersion: (v: string | BufferSource) => number;
            parseMsg: (v: string | BufferSource) => import("./protocol.js").Header;
            makeMsg: (t: number, id?: string | null, name?: string | null, wait?: number, size?: number) => string;
            makeHeartbeatMsg: (load: number) => string;
        };
    };
    Sock: SockConstructor;
    Handlers: HandlersConstructor;
    GotalkError: typeof GotalkError;
    retryAfter: typeof retryAfter;
    ErrAbnormal: import("./errors.js").ProtocolError;
    ErrUnsupported: import("./errors.js").ProtocolError;
    ErrInvalidMsg: import("./errors.js").ProtocolError;
    ErrTimeout: import("./errors.js").ProtocolError;
    /** The bytes of a BufferSource, not copied, or n zeros. */
    Buf: (v: BufferSource | number) => Uint8Array;
    /** Connects once. onConnect is called with null and the Sock, or with why the connection could not be made. */
    open: <O extends object = AnyOps>(addr?: string | null | Callback<SockClass<O>>, onConnect?: Callback<SockClass<O>> | null, handlers?: HandlersOrOptions<O>, proto?: Protocol | null) => SockClass<O>;
    /** Connects and stays connected, see Sock.openKeepAlive. */
    connection: <O extends object = AnyOps>(addr?: string | null, handlers?: HandlersOrOptions<O>, proto?: Protocol | null) => SockClass<O>;
    /** The handlers of all Socks made by open and connection that were not given others. */
    defaultHandlers: HandlersClass<AnyOps>;
    handle: HandlersClass["handleRequest"];
    handleRequest: HandlersClass["handleRequest"];
    handleBufferRequest: (op: string, fn: import("./types.js").BufferRequestHandler | null) => void;
    handleNotification: HandlersClass["handleNotification"];
    handleBufferNotification: (name: string, fn: import("./types.js").BufferNotificationHandler | null) => void;
    handleStreamRequest: (op: string, fn: import("./types.js").StreamRequestHandler | null) => void;
    handleStream: HandlersClass["handleStream"];
};
export {};
