import { GotalkError } from "./errors";
import { toText, utf8 } from "./protocol";
import type { Stream } from "./stream";
import type {
  AnyOps, BufferNotificationHandler, BufferRequestHandler, Context, Data, GotalkStream, Name, NotificationHandler, Out,
  Received, RequestHandler, Result, Sent, StreamRequestHandler,
} from "./types";
import { warn } from "./env";

export const reserved = (name: string): boolean => name.startsWith("gotalk:");

/** Throws if a program may not use this name, or none can. */
export function checkName(name: string): void {
  if (reserved(name) || utf8(name).length > 4095) {
    throw new GotalkError(`name is reserved or longer than 4095 bytes: ${name.slice(0, 99)}`, "invalid_argument");
  }
}

export const isPromise = (v: any): v is Promise<any> => typeof v?.then == "function";

export const decodeJSON = (data: Data): any => JSON.parse(toText(data) || "null");

/** JSON to a value: null for an empty payload, undefined (and a warning in development mode) for invalid JSON. */
function parseJSON(data: Data): any {
  try {
    return decodeJSON(data);
  } catch (err) {
    warn(err);
  }
}

/** Runs a request handler, and answers with what it returns where that is meant as the answer. */
export function serve<T, R>(
  fn: (value: T, result: Result<R>, op: string, ctx: Context) => unknown,
  value: T, result: Result<R>, op: string, ctx: Context,
): void {
  const r = fn(value, result, op, ctx);
  const n = fn.length; // 2 or 3: it declares result; 4: it may have done so to get at the context
  if (isPromise(r)) {
    r
      .then((v) => {
        if (n < 2 || n > 3 || v !== undefined) result(v);
      })
      .then(null, result.error);
  } else if (n < 2) {
    result(r as R);
  }
}

function set<F>(map: Map<string, F>, name: string, fn: F | null | undefined): void {
  checkName(name);
  if (fn) map.set(name, fn);
  else map.delete(name);
}

/**
 * The operations that a peer offers. The handler with the empty name gets what no other one is registered for.
 * Registering again replaces, registering null takes away; both at any time. O describes the operations by an
 * interface of functions.
 */
export class Handlers<O extends object = AnyOps> {
  private _requests = new Map<string, BufferRequestHandler>();
  private _notifications = new Map<string, BufferNotificationHandler>();
  private _streams = new Map<string, StreamRequestHandler>();

  /**
   * Values are JSON both ways. fn is called when the whole value has come. It also gets stream requests for which there is
   * no stream handler.
   */
  handleRequest<K extends Name<O>>(op: K | "", fn: RequestHandler<O[K]> | null): void {
    set(this._requests, op, fn && ((data, result, op, ctx) =>
      serve(
        fn, parseJSON(data), Object.assign((v?: Out<O[K]>) => result(JSON.stringify(v)), { error: result.error }), op, ctx,
      )));
  }

  /** The same with raw payloads. */
  handleBufferRequest(op: string, fn: BufferRequestHandler | null): void {
    set(this._requests, op, fn);
  }

  /** The value is JSON. */
  handleNotification<K extends Name<O>>(name: K | "", fn: NotificationHandler<O[K]> | null): void {
    set(this._notifications, name, fn && ((data, name, ctx) => fn(parseJSON(data), name, ctx)));
  }

  handleBufferNotification(name: string, fn: BufferNotificationHandler | null): void {
    set(this._notifications, name, fn);
  }

  /**
   * Answers stream requests, but for those that are one large payload in parts. If fn returns a promise, the stream ends,
   * or fails, with it.
   */
  handleStreamRequest(op: string, fn: StreamRequestHandler | null): void {
    set(this._streams, op, fn);
  }

  /**
   * Answers stream requests, by iterating the stream and by its send. When what fn returns, a promise usually, is
   * fulfilled the result ends, and when it is rejected the stream fails. Takes the place of handleStreamRequest.
   */
  handleStream<K extends Name<O>>(
    op: K | "", fn: ((stream: GotalkStream<Received<O[K]>, Sent<O[K]>>) => unknown) | null, options: { json: true },
  ): void;
  handleStream(op: string, fn: ((stream: GotalkStream) => unknown) | null): void;
  handleStream(
    op: string, fn: ((stream: GotalkStream<any, any>) => unknown) | null, options?: { json?: boolean },
  ): void {
    set(this._streams, op, fn && (async (stream) => {
      Object.assign(stream, { _in: [], _json: options?.json });
      await fn(stream as Stream);
    }));
  }

  findRequestHandler(op: string): BufferRequestHandler | undefined {
    return this._requests.get(op) || this._requests.get("");
  }

  findNotificationHandler(name: string): BufferNotificationHandler | undefined {
    return this._notifications.get(name) || this._notifications.get("");
  }

  findStreamRequestHandler(op: string): StreamRequestHandler | undefined {
    return this._streams.get(op) || this._streams.get("");
  }
}
