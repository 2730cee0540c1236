import { env, setScript } from "./env";
import { ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported, GotalkError, retryAfter } from "./errors";
import { Handlers as HandlersClass } from "./handlers";
import { protocol, toBytes, type Protocol } from "./protocol";
import { Sock as SockClass } from "./sock";
import type { AnyOps, Callback, SockOptions } from "./types";

declare const VERSION: string; // set by the build

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

// The class, and what makes an instance without `new` as well.
function callable(c: new (...args: any[]) => object): any {
  return (c.prototype.constructor = new Proxy(c, { apply: (_c, _this, args) => new c(...args) }));
}

const Sock: SockConstructor = callable(SockClass);
const Handlers: HandlersConstructor = callable(HandlersClass);
const defaultHandlers: HandlersClass = new Handlers();

/** What a script tag defines, and what `import gotalk` and `require` give. */
export const gotalk = Object.assign(env, {
  /** Version of this library. */
  version: VERSION,
  protocol,
  Sock,
  Handlers,
  GotalkError,
  retryAfter,
  ErrAbnormal,
  ErrUnsupported,
  ErrInvalidMsg,
  ErrTimeout,

  /** The bytes of a BufferSource, not copied, or n zeros. */
  Buf: (v: BufferSource | number): Uint8Array => (typeof v == "number" ? new Uint8Array(v) : toBytes(v)),

  /** Connects once. onConnect is called with null and the Sock, or with why the connection could not be made. */
  open: <O extends object = AnyOps>(
    addr?: string | null | Callback<SockClass<O>>, onConnect?: Callback<SockClass<O>> | null,
    handlers?: HandlersOrOptions<O>, proto?: Protocol | null,
  ): SockClass<O> => new SockClass<O>(handlers, proto, defaultHandlers).open(addr, onConnect),

  /** Connects and stays connected, see Sock.openKeepAlive. */
  connection: <O extends object = AnyOps>(
    addr?: string | null, handlers?: HandlersOrOptions<O>, proto?: Protocol | null,
  ): SockClass<O> => new SockClass<O>(handlers, proto, defaultHandlers).openKeepAlive(addr),

  /** The handlers of all Socks made by open and connection that were not given others. */
  defaultHandlers,
  // The methods of defaultHandlers.
  handle: defaultHandlers.handleRequest.bind(defaultHandlers) as HandlersClass["handleRequest"],
  handleRequest: defaultHandlers.handleRequest.bind(defaultHandlers) as HandlersClass["handleRequest"],
  handleBufferRequest: defaultHandlers.handleBufferRequest.bind(defaultHandlers),
  handleNotification: defaultHandlers.handleNotification.bind(defaultHandlers) as HandlersClass["handleNotification"],
  handleBufferNotification: defaultHandlers.handleBufferNotification.bind(defaultHandlers),
  handleStreamRequest: defaultHandlers.handleStreamRequest.bind(defaultHandlers),
  handleStream: defaultHandlers.handleStream.bind(defaultHandlers) as HandlersClass["handleStream"],
});

// For code that was compiled from `import gotalk from …` to what a script tag or require gives.
Object.setPrototypeOf(gotalk, { default: gotalk, __esModule: true });

setScript((globalThis.document?.currentScript as HTMLScriptElement | null)?.src);
