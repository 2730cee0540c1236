import type { EventEmitter } from "./events.js";
import type { Handlers } from "./handlers.js";
import type { Protocol } from "./protocol.js";
import type { Sock } from "./sock.js";
import type { StreamEvents } from "./stream.js";
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
/** The type of what is sent to a streaming operation: `(chunks: AsyncIterable<T>) => …` takes many T. */
export type Sent<F> = In<F> extends AsyncIterable<infer T> ? T : In<F>;
/** The type of what a streaming operation sends: `(…) => AsyncIterable<T>` sends many T. */
export type Received<F> = Out<F> extends AsyncIterable<infer T> ? T : Out<F>;
/** Answers a request. Only the first answer counts. */
export interface Result<T> {
    (value?: T): void;
    /** Fails the request. The requestor gets err.message, or err as a string, and a code if err has one of `Code`. */
    error(err: unknown): void;
}
/** What a handler may know of a request beside its value. */
export interface Context {
    /** Aborted when the requestor cancels, when the deadline passes, and when the connection is gone. */
    readonly signal: AbortSignal;
    /** When the requestor stops waiting, in milliseconds since 1970. Undefined if it did not say. */
    readonly deadline?: number;
    /** What the requestor sent along; {} if nothing. */
    readonly meta: Record<string, string>;
    /** Where the request came from. */
    readonly sock: Sock;
}
export type BufferRequestHandler = (payload: Data, result: Result<Payload>, op: string, ctx: Context) => unknown;
export type BufferNotificationHandler = (payload: Data, name: string, ctx: Pick<Context, "sock">) => unknown;
export type StreamRequestHandler = (stream: StreamResponse, op: string, ctx: Context) => unknown;
/**
 * Answers by calling result, by returning a value or a promise, or by throwing. What a handler returns is the answer
 * if it does not declare the parameter result; one that declares it (fn.length is 2 or more) answers by it, or by a
 * promise of a value. The promise of one that declares ctx as well is the answer even if its value is undefined.
 */
export type RequestHandler<F> = (value: In<F>, result: Result<Out<F>>, op: string, ctx: Context) => Out<F> | Promise<Out<F> | void> | void;
export type NotificationHandler<F> = (value: In<F>, name: string, ctx: Pick<Context, "sock">) => unknown;
/**
 * One end of a stream of chunks in both directions. Chunks that come while nobody listens to `data` are lost, so
 * listeners are to be added in the tick in which the stream was made or received. They count as consumed at once.
 */
export interface StreamRequest extends EventEmitter<StreamEvents> {
    readonly op: string;
    readonly id: string;
    /**
     * Sends a chunk, now or when the peer has room for it; an empty one, or none, ends this direction of the stream.
     * Afterwards nothing is sent any more.
     */
    write(buf?: Payload): void;
    /** Ends this direction of the stream. */
    end(): void;
}
/**
 * A stream request of the peer's. The answer may go on after the request has ended; the end of the answer ends the
 * stream altogether.
 */
export interface StreamResponse extends StreamRequest {
    /** Fails the request: the requestor gets err.message, or err as a string. */
    error(err: unknown): void;
}
/**
 * One end of a stream of chunks in both directions: S is what this side sends, R what it receives. Iterate it once for
 * what comes. A chunk that was taken makes room for another: what is not taken stops its sender, but nothing else on
 * the connection. Against peers without windows the queue has no bound.
 */
export interface GotalkStream<S = Payload, R = Uint8Array<ArrayBuffer>> extends Context {
    readonly op: string;
    /**
     * Sends a chunk. Resolves when it is on its way, which may take until the peer has room for it; fails if the stream
     * has ended, with why. Chunks are sent in the order of the calls. An empty one is nothing and not sent.
     */
    send(chunk: S): Promise<void>;
    /** Ends this direction, behind all that was sent. */
    end(): void;
    /**
     * Gives the stream up. Who requested it tells the peer that nothing more is wanted; who answers fails it with reason,
     * an error. Here, iterating and sending fail with reason.
     */
    cancel(reason?: unknown): void;
    /** Throws why the stream failed. Leaving the loop early cancels the stream, if it was made by sock.stream. */
    [Symbol.asyncIterator](): AsyncGenerator<R, void, undefined>;
    /** The same for pipes; to be used instead of iterating. Cancelling it is leaving. */
    readonly readable: ReadableStream<R>;
    /** What is written is sent, its close is end, its abort is cancel. */
    readonly writable: WritableStream<S>;
}
export type SockEvents<S = Sock> = {
    /** Connected; requests may be made. */
    open: [sock: S];
    /** The connection is gone: null after an orderly close, otherwise why. All pending requests have failed. */
    close: [err: Error | null];
    heartbeat: [beat: {
        time: Date;
        load: number;
    }];
};
export type Callback<T> = (err: Error | null, value?: T) => void;
export interface RequestOptions {
    /** Ends the request when aborted: it fails with signal.reason and its result is ignored. */
    signal?: AbortSignal;
    /** Milliseconds until the request fails with code "deadline_exceeded". The peer is told. No limit by default. */
    timeout?: number;
    /**
     * What else the peer is told: a handler finds it in its context. A peer closes the connection on more than 16 KiB. The
     * key timeout_ms is taken, and size best left to say how large a payload is that leaves in parts.
     */
    meta?: Record<string, string>;
    /**
     * How often the request is sent again when the peer asks for that, after the wait that it asks for and a little more.
     * 3 by default, or as often as the timeout allows if there is one. Then it fails with code "unavailable".
     */
    retries?: number;
}
export interface StreamOptions<S = Payload> extends Omit<RequestOptions, "retries"> {
    /** Sent with the request, as its first chunk. */
    value?: S;
    /** Chunks are values, which travel as JSON; both ways. */
    json?: boolean;
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
}
/** Rest arguments of a call of F: the value may be left out if F takes none. */
export type CallArgs<F> = undefined extends In<F> ? [value?: In<F>, options?: RequestOptions] : [value: In<F>, options?: RequestOptions];
export type NotifyArgs<F> = undefined extends In<F> ? [value?: In<F>] : [value: In<F>];
