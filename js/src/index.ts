import { setScript } from "./address";
import { env } from "./env";
import { ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, GotalkError } from "./errors";
import { EventEmitter } from "./events";
import { Handlers as HandlersClass, type AnyOps } from "./handlers";
import { protocol, toBytes, type Protocol } from "./protocol";
import { Sock as SockClass, type Callback, type SockOptions } from "./sock";
import { StreamRequest } from "./stream";

declare const VERSION: string; // set by the build

export type { ProtocolError } from "./errors";
export type {
  AnyOps, BufferNotificationHandler, BufferRequestHandler, Data, In, NotificationHandler, Out, Payload, RequestHandler,
  Result, StreamRequestHandler,
} from "./handlers";
export type { KeepAlive } from "./keepalive";
export type { Header, Protocol } from "./protocol";
export type { Callback, RequestOptions, SockEvents, SockOptions, WebSocketClass } from "./sock";
export type { StreamEvents, StreamResponse } from "./stream";

/** Makes a class that can be called without `new` as well, and extended. */
function callable(c: new (...args: any[]) => object): any {
  function f(...args: unknown[]): object {
    return Reflect.construct(c, args, new.target || f);
  }
  f.prototype = c.prototype;
  f.prototype.constructor = f;
  return f;
}

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

export const Sock: SockConstructor = callable(SockClass);
export type Sock<O extends object = AnyOps> = SockClass<O>;
export const Handlers: HandlersConstructor = callable(HandlersClass);
export type Handlers<O extends object = AnyOps> = HandlersClass<O>;

/** Version of this library. */
export const version = VERSION;

/** The handlers of all Socks made by open and connection that were not given others. */
export const defaultHandlers: Handlers = Handlers();

/** The bytes of a BufferSource, not copied, or n zeros. */
export function Buf(v: BufferSource | number): Uint8Array {
  return typeof v == "number" ? new Uint8Array(v) : toBytes(v);
}

function make<O extends object>(handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null): Sock<O> {
  const options = handlers && "findRequestHandler" in handlers ? { handlers } : handlers;
  return Sock<O>({ handlers: defaultHandlers, ...options }, proto);
}

/** Connects once. onConnect is called with null and the Sock, or with why the connection could not be made. */
export function open<O extends object = AnyOps>(
  addr?: string | null | Callback<Sock<O>>, onConnect?: Callback<Sock<O>> | null,
  handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null,
): Sock<O> {
  return make<O>(handlers, proto).open(addr as string, onConnect || undefined);
}

/** Connects and stays connected, see Sock.openKeepAlive. */
export function connection<O extends object = AnyOps>(
  addr?: string | null, handlers?: HandlersClass<any> | SockOptions<O> | null, proto?: Protocol | null,
): Sock<O> {
  return make<O>(handlers, proto).openKeepAlive(addr);
}

// The methods of defaultHandlers.
export const handleRequest: Handlers["handleRequest"] = (op, fn) => defaultHandlers.handleRequest(op, fn);
export const handle = handleRequest;
export const handleBufferRequest: Handlers["handleBufferRequest"] = (op, fn) => defaultHandlers.handleBufferRequest(op, fn);
export const handleNotification: Handlers["handleNotification"] = (name, fn) => defaultHandlers.handleNotification(name, fn);
export const handleBufferNotification: Handlers["handleBufferNotification"] = (name, fn) =>
  defaultHandlers.handleBufferNotification(name, fn);
export const handleStreamRequest: Handlers["handleStreamRequest"] = (op, fn) => defaultHandlers.handleStreamRequest(op, fn);

setScript((globalThis.document?.currentScript as HTMLScriptElement | null)?.src);

export {
  ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, EventEmitter, GotalkError, protocol, StreamRequest,
};

const gotalk = {
  version,
  protocol,
  Buf,
  Sock,
  Handlers,
  StreamRequest,
  EventEmitter,
  GotalkError,
  ErrAbnormal,
  ErrUnsupported,
  ErrInvalidMsg,
  ErrTimeout,
  open,
  connection,
  defaultHandlers,
  handle,
  handleRequest,
  handleBufferRequest,
  handleNotification,
  handleBufferNotification,
  handleStreamRequest,

  /** Warnings on the console. On if the script was loaded from this machine. */
  get developmentMode(): boolean {
    return env.developmentMode;
  },
  set developmentMode(on: boolean) {
    env.developmentMode = on;
  },

  /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
  get defaultResponderAddress(): string {
    return env.defaultResponderAddress;
  },
  set defaultResponderAddress(addr: string) {
    env.defaultResponderAddress = addr;
  },
};

// For code that was compiled from `import gotalk from …` to what a script tag or require gives.
Object.defineProperties(gotalk, { default: { value: gotalk }, __esModule: { value: true } });

export default gotalk;
