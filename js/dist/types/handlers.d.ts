import type { AnyOps, BufferNotificationHandler, BufferRequestHandler, Context, Data, GotalkStream, Name, NotificationHandler, Received, RequestHandler, Result, Sent, StreamRequestHandler } from "./types.js";
export declare const reserved: (name: string) => boolean;
/** Throws if a program may not use this name, or none can. */
export declare function checkName(name: string): void;
export declare const isPromise: (v: any) => v is Promise<any>;
export declare const decodeJSON: (data: Data) => any;
/** Runs a request handler, and answers with what it returns where that is meant as the answer. */
export declare function serve<T, R>(fn: (value: T, result: Result<R>, op: string, ctx: Context) => unknown, value: T, result: Result<R>, op: string, ctx: Context): void;
/**
 * The operations that a peer offers. The handler with the empty name gets what no other one is registered for.
 * Registering again replaces, registering null takes away; both at any time. O describes the operations by an
 * interface of functions.
 */
export declare class Handlers<O extends object = AnyOps> {
    private _requests;
    private _notifications;
    private _streams;
    /**
     * Values are JSON both ways. fn is called when the whole value has come. It also gets stream requests for which there is
     * no stream handler.
     */
    handleRequest<K extends Name<O>>(op: K | "", fn: RequestHandler<O[K]> | null): void;
    /** The same with raw payloads. */
    handleBufferRequest(op: string, fn: BufferRequestHandler | null): void;
    /** The value is JSON. */
    handleNotification<K extends Name<O>>(name: K | "", fn: NotificationHandler<O[K]> | null): void;
    handleBufferNotification(name: string, fn: BufferNotificationHandler | null): void;
    /**
     * Answers stream requests, but for those that are one large payload in parts. If fn returns a promise, the stream ends,
     * or fails, with it.
     */
    handleStreamRequest(op: string, fn: StreamRequestHandler | null): void;
    /**
     * Answers stream requests, by iterating the stream and by its send. When what fn returns, a promise usually, is
     * fulfilled the result ends, and when it is rejected the stream fails. Takes the place of handleStreamRequest.
     */
    handleStream<K extends Name<O>>(op: K | "", fn: ((stream: GotalkStream<Received<O[K]>, Sent<O[K]>>) => unknown) | null, options: {
        json: true;
    }): void;
    handleStream(op: string, fn: ((stream: GotalkStream) => unknown) | null): void;
    findRequestHandler(op: string): BufferRequestHandler | undefined;
    findNotificationHandler(name: string): BufferNotificationHandler | undefined;
    findStreamRequestHandler(op: string): StreamRequestHandler | undefined;
}
