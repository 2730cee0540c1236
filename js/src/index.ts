// The module's exports. They are the properties of gotalk, except for those that a program may set, which only the
// default export has.
import { gotalk } from "./gotalk";
import type { Handlers as HandlersClass } from "./handlers";
import type { Sock as SockClass } from "./sock";
import type { AnyOps } from "./types";

export const {
  Buf, connection, defaultHandlers, ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, GotalkError,
  handle, handleBufferNotification, handleBufferRequest, handleNotification, handleRequest, handleStream,
  handleStreamRequest, Handlers, open, protocol, retryAfter, Sock, version,
} = gotalk;
export default gotalk;

export type Sock<O extends object = AnyOps> = SockClass<O>;
export type Handlers<O extends object = AnyOps> = HandlersClass<O>;
export type GotalkError = InstanceType<typeof GotalkError>;
export type { Code, ProtocolError } from "./errors";
export type { EventEmitter } from "./events";
export type { HandlersConstructor, SockConstructor } from "./gotalk";
export type { KeepAlive } from "./keepalive";
export type { Header, Protocol } from "./protocol";
export type { StreamEvents } from "./stream";
export type {
  AnyOps, BufferNotificationHandler, BufferRequestHandler, Callback, Context, Data, GotalkStream, In, NotificationHandler,
  Out, Payload, Received, RequestHandler, RequestOptions, Result, Sent, SockEvents, SockOptions, StreamOptions,
  StreamRequest, StreamRequestHandler, StreamResponse, WebSocketClass,
} from "./types";
