import { gotalk } from "./gotalk.js";
import type { Handlers as HandlersClass } from "./handlers.js";
import type { Sock as SockClass } from "./sock.js";
import type { AnyOps } from "./types.js";
export declare const Buf: (v: BufferSource | number) => Uint8Array, connection: <O extends object = AnyOps>(addr?: string | null, handlers?: HandlersClass<any> | import("./types.js").SockOptions<O> | null, proto?: import("./protocol.js").Protocol | null) => SockClass<O>, defaultHandlers: HandlersClass<AnyOps>, ErrAbnormal: import("./errors.js").ProtocolError, ErrInvalidMsg: import("./errors.js").ProtocolError, ErrTimeout: import("./errors.js").ProtocolError, ErrUnsupported: import("./errors.js").ProtocolError, GotalkError: typeof import("./errors.js").GotalkError, handle: <K extends import("./types.js").Name<AnyOps>>(op: "" | K, fn: import("./types.js").RequestHandler<(value?: any) => any> | null) => void, handleBufferNotification: (name: string, fn: import("./types.js").BufferNotificationHandler | null) => void, handleBufferRequest: (op: string, fn: import("./types.js").BufferRequestHandler | null) => void, handleNotification: <K extends import("./types.js").Name<AnyOps>>(name: "" | K, fn: import("./types.js").NotificationHandler<(value?: any) => any> | null) => void, handleRequest: <K extends import("./types.js").Name<AnyOps>>(op: "" | K, fn: import("./types.js").RequestHandler<(value?: any) => any> | null) => void, handleStream: {
    <K extends import("./types.js").Name<AnyOps>>(op: "" | K, fn: ((stream: import("./types.js").GotalkStream<any, any>) => unknown) | null, options: {
        json: true;
    }): void;
    (op: string, fn: ((stream: import("./types.js").GotalkStream) => unknown) | null): void;
}, handleStreamRequest: (op: string, fn: import("./types.js").StreamRequestHandler | null) => void, Handlers: import("./gotalk.js").HandlersConstructor, open: <O extends object = AnyOps>(addr?: string | null | import("./types.js").Callback<SockClass<O>>, onConnect?: import("./types.js").Callback<SockClass<O>> | null, handlers?: HandlersClass<any> | import("./types.js").SockOptions<O> | null, proto?: import("./protocol.js").Protocol | null) => SockClass<O>, protocol: {
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
}, retryAfter: typeof import("./errors.js").retryAfter, Sock: import("./gotalk.js").SockConstructor, version: string;
export default gotalk;
export type Sock<O extends object = AnyOps> = SockClass<O>;
export type Handlers<O extends object = AnyOps> = HandlersClass<O>;
export type GotalkError = InstanceType<typeof GotalkError>;
export type { Code, ProtocolError } from "./errors.js";
export type { EventEmitter } from "./events.js";
export type { HandlersConstructor, SockConstructor } from "./gotalk.js";
export type { KeepAlive } from "./keepalive.js";
export type { Header, Protocol } from "./protocol.js";
export type { StreamEvents } from "./stream.js";
export type { AnyOps, BufferNotificationHandler, BufferRequestHandler, Callback, Context, Data, GotalkStream, In, NotificationHandler, Out, Payload, Received, RequestHandler, RequestOptions, Result, Sent, SockEvents, SockOptions, StreamOptions, StreamRequest, StreamRequestHandler, StreamResponse, WebSocketClass, } from "./types.js";
