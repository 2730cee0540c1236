// The module's exports. They are the properties of gotalk, except for those that a program may set, which only the
// default export has.
import { gotalk } from "./gotalk";
import type { AnyOps, Handlers as HandlersClass } from "./handlers";
import type { Sock as SockClass } from "./sock";

export const {
  Buf, connection, defaultHandlers, ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, EventEmitter, GotalkError,
  handle, handleBufferNotification, handleBufferRequest, handleNotification, handleRequest, handleStreamRequest,
  Handlers, open, protocol, Sock, StreamRequest, version,
} = gotalk;
export default gotalk;

export type Sock<O extends object = AnyOps> = SockClass<O>;
export type Handlers<O extends object = AnyOps> = HandlersClass<O>;
export type GotalkError = InstanceType<typeof GotalkError>;
export type StreamRequest = InstanceType<typeof StreamRequest>;
export type { ProtocolError } from "./errors";
export type { HandlersConstructor, SockConstructor } from "./gotalk";
export type {
  AnyOps, BufferNotificationHandler, BufferRequestHandler, Data, In, NotificationHandler, Out, Payload, RequestHandler,
  Result, StreamRequestHandler,
} from "./handlers";
export type { KeepAlive } from "./keepalive";
export type { Header, Protocol } from "./protocol";
export type { Callback, RequestOptions, SockEvents, SockOptions, WebSocketClass } from "./sock";
export type { StreamEvents, StreamResponse } from "./stream";
