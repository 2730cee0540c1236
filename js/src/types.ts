// The types that programs see: payloads, operations, handlers and options.
import type { Handlers } from "./handlers";
import type { Protocol } from "./protocol";
import type { Sock } from "./sock";
import type { StreamResponse } from "./stream";

/** What a buffer handler is given, and what a buffer request resolves to. Undefined when empty. */
export type Data = Uint8Array<ArrayBuffer> | string | undefined;
/** What can be sent as raw payload. Strings travel as UTF-8. */
export type Payload = string | BufferSource | null | undefined;

/** Operations by name, when nothing is known about them. */
export type AnyOps = Record<string, (value?: any) => any>;
/** The type of the value that an operation takes. */
export type In<F> = F extends (...args: infer A) => unknown ? (A extends [] ? undefined : A[0]) : never;
/** The type of the value that an operation results in. */
export type Out<F> = F extends (...args: any[]) => infer R ? Awaited<R> : never;
export type Name<O> = keyof O & string;

/** Answers a request. Only the first answer counts. */
export interface Result<T> {
  (value?: T): void;
  /** Fails the request. The requestor gets err.message, or err as a string. */
  error(err: unknown): void;
}

export type BufferRequestHandler = (payload: Data, result: Result<Payload>, op: string) => unknown;
export type BufferNotificationHandler = (payload: Data, name: string) => unknown;
export type StreamRequestHandler = (stream: StreamResponse, op: string) => unknown;
/**
 * Answers by calling result, by returning a value or a promise, or by throwing. What a handler returns is the answer
 * if it does not declare the parameter result; one that declares it answers by it, or by a promise of a value.
 */
export type RequestHandler<F> =
  (value: In<F>, result: Result<Out<F>>, op: string) => Out<F> | Promise<Out<F> | void> | void;
export type NotificationHandler<F> = (value: In<F>, name: string) => unknown;

export type SockEvents<S = Sock> = {
  /** Connected; requests may be made. */
  open: [sock: S];
  /** The connection is gone: null after an orderly close, otherwise why. All pending requests have failed. */
  close: [err: Error | null];
  heartbeat: [beat: { time: Date; load: number }];
};

export type Callback<T> = (err: Error | null, value?: T) => void;

export interface RequestOptions {
  /** Ends the request when aborted: it fails with signal.reason and its result is ignored. */
  signal?: AbortSignal;
  /** Milliseconds until the request fails with code "deadline_exceeded". No limit by default. */
  timeout?: number;
  /** How often the request is sent again when the peer asks for that, after the wait that it asks for. 3 by default. */
  retries?: number;
}

/** A WebSocket class that has the interface of the browsers', for example that of the package ws. */
export type WebSocketClass = new (url: string) => object;

export interface SockOptions<O extends object = AnyOps> {
  handlers?: Handlers<any>;
  protocol?: Protocol;
  /** What connections are made with, instead of the global WebSocket. */
  WebSocket?: WebSocketClass;
  /** Say no hello: speak plain protocol 1 even to a peer that knows more. */
  noExtensions?: boolean;
  heartbeatInterval?: number;
  sendBufferLimit?: number;
  /** @internal keeps O in the type */
  _ops?: O;
}

/** Rest arguments of a call of F: the value may be left out if F takes none. */
export type CallArgs<F> =
  undefined extends In<F> ? [value?: In<F>, options?: RequestOptions] : [value: In<F>, options?: RequestOptions];
export type NotifyArgs<F> = undefined extends In<F> ? [value?: In<F>] : [value: In<F>];
