import { EventEmitter } from "./events.js";
import { Handlers } from "./handlers.js";
import { KeepAlive } from "./keepalive.js";
import { type Protocol } from "./protocol.js";
import type { AnyOps, CallArgs, Callback, Data, GotalkStream, In, Name, NotifyArgs, Out, Payload, Received, RequestOptions, Sent, SockEvents, SockOptions, StreamOptions, StreamRequest, WebSocketClass } from "./types.js";
/**
 * A peer at the other end of a WebSocket. O describes the operations that it offers, by an interface of functions.
 * All methods may be called at any time; what is sent before the connection is open waits in a queue.
 */
export declare class Sock<O extends object = AnyOps> extends EventEmitter<SockEvents<Sock<O>>> {
    readonly handlers: Handlers<any>;
    /** Change it before connecting. */
    protocol: Protocol;
    /** Milliseconds between heartbeats; 0 for none. A value below 10 is an error. */
    heartbeatInterval: number;
    /** How many messages may wait for a connection. Sending more fails with `socket is closed`. */
    sendBufferLimit: number;
    noExtensions: boolean;
    WebSocket?: WebSocketClass;
    /** The current WebSocket. */
    ws: WebSocket | null;
    /** What keeps the connection open, after openKeepAlive. */
    keepalive: KeepAlive | null;
    /** The third parameter is what the second of connection() and the third of open() default to. */
    constructor(handlers?: Handlers<any> | SockOptions<O> | null, proto?: Protocol | null, fallback?: Handlers<AnyOps>);
    /** Connects to addr, or to the default address. cb is called once, with null or with why that failed. */
    open(addr?: string | null | Callback<this>, cb?: Callback<this> | null): this;
    /** Connects, and again whenever the connection could not be made or was lost, until end() is called. */
    openKeepAlive(addr?: string | null): this;
    /**
     * Takes over a WebSocket that is open; handshake and startReading are to be called next. What it receives before
     * is kept.
     */
    adoptWebSocket(ws: WebSocket): void;
    adopt(ws: WebSocket): void;
    private _attach;
    /** Sends the version, what we can do beyond it, and what was queued. */
    handshake(): void;
    startReading(): void;
    /**
     * Stops keeping the connection open and closes it: when the results of pending requests have come, or at once if
     * there are none or on a second call. Requests that were still queued fail.
     */
    end(): void;
    /** Tells the peer of a protocol error, and closes the connection. */
    closeError(code: number): void;
    /** The URL of the current connection. */
    address(): string | null;
    private _lost;
    private _waits;
    private _failAll;
    /** Sends a notification. Throws if it can neither be sent nor queued. */
    notify<K extends Name<O>>(name: K, ...args: NotifyArgs<O[K]>): void;
    bufferNotify(name: string, buf?: Payload): void;
    /**
     * Calls an operation of the peer's, with JSON both ways. Resolves to null for an empty result. Fails with a
     * GotalkError, with a ProtocolError if that ended the connection, or with the reason of the signal. With a
     * callback, the promise resolves to undefined instead, and never fails.
     */
    request<K extends Name<O>>(op: K, cb: Callback<Out<O[K]>>): Promise<void>;
    request<K extends Name<O>>(op: K, value: In<O[K]>, cb: Callback<Out<O[K]>>): Promise<void>;
    request<K extends Name<O>>(op: K, ...args: CallArgs<O[K]>): Promise<Out<O[K]>>;
    /** The same as request. */
    get requestp(): this["request"];
    /** Calls an operation with a raw payload. Resolves to the raw result, undefined if empty. */
    bufferRequest(op: string, cb: Callback<Data>): Promise<void>;
    bufferRequest(op: string, buf: Payload, cb: Callback<Data>): Promise<void>;
    bufferRequest(op: string, buf?: Payload, options?: RequestOptions): Promise<Data>;
    /** The same as bufferRequest. */
    get bufferRequestp(): this["bufferRequest"];
    /** Begins a stream request; nothing is sent before the first write. */
    streamRequest(op: string): StreamRequest;
    /**
     * Begins a stream with an operation of the peer's, at once: send and end what it takes, and iterate what it gives.
     * Failures, those of making the stream included, are told by iterating and sending. Throws if the name cannot be
     * used, if meta is too large, and if the signal is aborted already.
     */
    stream<K extends Name<O>>(op: K, options: StreamOptions<Sent<O[K]>> & {
        json: true;
    }): GotalkStream<Sent<O[K]>, Received<O[K]>>;
    stream(op: string, options?: StreamOptions & {
        json?: false;
    }): GotalkStream;
    /** load is from 0 (idle) to 1 (takes no more work). */
    sendHeartbeat(load: number): void;
    /** Is called when the peer's version has come. */
    startSendingHeartbeats(): void;
    stopSendingHeartbeats(): void;
}
