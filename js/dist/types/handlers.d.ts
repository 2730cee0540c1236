import type { StreamResponse } from "./stream.js";
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
 * A function without parameters that returns undefined, not a promise, is taken to call result later.
 */
export type RequestHandler<F> = (value: In<F>, result: Result<Out<F>>, op: string) => Out<F> | Promise<Out<F> | void> | void;
export type NotificationHandler<F> = (value: In<F>, name: string) => unknown;
export declare const reserved: (name: string) => boolean;
/** Throws if a program may not use this name, or none can. */
export declare function checkName(name: string): void;
export declare const isPromise: (v: any) => v is Promise<any>;
export declare const decodeJSON: (data: Data) => any;
/** Runs a request handler, and answers with what it returns where that is meant as the answer. */
export declare function serve<T, R>(fn: (value: T, result: Result<R>, op: string) => unknown, value: T, result: Result<R>, op: string): void;
/**
 * The operations that a peer offers. The handler with the empty name gets what no other one is registered for.
 * Registering again replaces, registering null takes away; both at any time. O describes the operations by an
 * interface of functions.
 */
export declare class Handlers<O extends object = AnyOps> {
    private _requests;
    private _notifications;
    private _streams;
    /** Values are JSON both ways. */
    handleRequest<K extends Name<O>>(op: K | "", fn: RequestHandler<O[K]> | null): void;
    handleBufferRequest(op: string, fn: BufferRequestHandler | null): void;
    /** The value is JSON. */
    handleNotification<K extends Name<O>>(name: K | "", fn: NotificationHandler<O[K]> | null): void;
    handleBufferNotification(name: string, fn: BufferNotificationHandler | null): void;
    /** Answers stream requests. If fn returns a promise, the stream ends, or fails, with it. */
    handleStreamRequest(op: string, fn: StreamRequestHandler | null): void;
    findRequestHandler(op: string): BufferRequestHandler | undefined;
    findNotificationHandler(name: string): BufferNotificationHandler | undefined;
    findStreamRequestHandler(op: string): StreamRequestHandler | undefined;
}
