import { ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, GotalkError } from "./errors.js";
import { EventEmitter } from "./events.js";
import { Handlers as HandlersClass, type AnyOps } from "./handlers.js";
import { protocol, type Protocol } from "./protocol.js";
import { Sock as SockClass, type Callback, type SockOptions } from "./sock.js";
import { StreamRequest } from "./stream.js";
export type { ProtocolError } from "./errors.js";
export type { AnyOps, BufferNotificationHandler, BufferRequestHandler, Data, In, NotificationHandler, Out, Payload, RequestHandler, Result, StreamRequestHandler, } from "./handlers.js";
export type { KeepAlive } from "./keepalive.js";
export type { Header, Protocol } from "./protocol.js";
export type { Callback, RequestOptions, SockEvents, SockOptions, WebSocketClass } from "./sock.js";
export type { StreamEvents, StreamResponse } from "./stream.js";
export interface SockConstructor {
    readonly prototype: SockClass<any>;
    new <O extends object = AnyOps>(handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null): SockClass<O>;
    <O extends object = AnyOps>(handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null): SockClass<O>;
}
export interface HandlersConstructor {
    readonly prototype: HandlersClass<any>;
    new <O extends object = AnyOps>(): HandlersClass<O>;
    <O extends object = AnyOps>(): HandlersClass<O>;
}
export declare const Sock: SockConstructor;
export type Sock<O extends object = AnyOps> = SockClass<O>;
export declare const Handlers: HandlersConstructor;
export type Handlers<O extends object = AnyOps> = HandlersClass<O>;
/** Version of this library. */
export declare const version: string;
/** The handlers of all Socks made by open and connection that were not given others. */
export declare const defaultHandlers: Handlers;
/** The bytes of a BufferSource, not copied, or n zeros. */
export declare function Buf(v: BufferSource | number): Uint8Array;
/** Connects once. onConnect is called with null and the Sock, or with why the connection could not be made. */
export declare function open<O extends object = AnyOps>(addr?: string | null | Callback<Sock<O>>, onConnect?: Callback<Sock<O>> | null, handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null): Sock<O>;
/** Connects and stays connected, see Sock.openKeepAlive. */
export declare function connection<O extends object = AnyOps>(addr?: string | null, handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null): Sock<O>;
export declare const handleRequest: Handlers["handleRequest"];
export declare const handle: <K extends import("./handlers.js").Name<AnyOps>>(op: "" | K, fn: import("./handlers.js").RequestHandler<(value?: any) => any> | null) => void;
export declare const handleBufferRequest: Handlers["handleBufferRequest"];
export declare const handleNotification: Handlers["handleNotification"];
export declare const handleBufferNotification: Handlers["handleBufferNotification"];
export declare const handleStreamRequest: Handlers["handleStreamRequest"];
export { ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, EventEmitter, GotalkError, protocol, StreamRequest, };
declare const gotalk: {
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
            parseVersion: (b: BufferSource) => number;
            parseMsg: (b: BufferSource) => import("./protocol.js").Header;
            makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): Uint8Array<ArrayBuffer>;
            makeHeartbeatMsg: (load: number) => Uint8Array<ArrayBuffer>;
        };
        text: {
            versionBuf: string;
            makeFixnum: (n: number, digits: number) => string;
            parseVersion: (s: string) => number;
            parseMsg: (s: string) => import("./protocol.js").Header;
            makeMsg: (t: number, id?: string | null, name?: string | null, wait?: number, size?: number) => string;
            makeHeartbeatMsg: (load: number) => string;
        };
    };
    Buf: typeof Buf;
    Sock: SockConstructor;
    Handlers: HandlersConstructor;
    StreamRequest: typeof StreamRequest;
    EventEmitter: typeof EventEmitter;
    GotalkError: typeof GotalkError;
    ErrAbnormal: import("./errors.js").ProtocolError;
    ErrUnsupported: import("./errors.js").ProtocolError;
    ErrInvalidMsg: import("./errors.js").ProtocolError;
    ErrTimeout: import("./errors.js").ProtocolError;
    open: typeof open;
    connection: typeof connection;
    defaultHandlers: Handlers<AnyOps>;
    handle: <K extends import("./handlers.js").Name<AnyOps>>(op: "" | K, fn: import("./handlers.js").RequestHandler<(value?: any) => any> | null) => void;
    handleRequest: <K extends import("./handlers.js").Name<AnyOps>>(op: "" | K, fn: import("./handlers.js").RequestHandler<(value?: any) => any> | null) => void;
    handleBufferRequest: (op: string, fn: import("./handlers.js").BufferRequestHandler | null) => void;
    handleNotification: <K extends import("./handlers.js").Name<AnyOps>>(name: "" | K, fn: import("./handlers.js").NotificationHandler<(value?: any) => any> | null) => void;
    handleBufferNotification: (name: string, fn: import("./handlers.js").BufferNotificationHandler | null) => void;
    handleStreamRequest: (op: string, fn: import("./handlers.js").StreamRequestHandler | null) => void;
    /** Warnings on the console. On if the script was loaded from this machine. */
    developmentMode: boolean;
    /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
    defaultResponderAddress: string;
};
export default gotalk;
