import type { Sock } from "./sock.js";
import { Stream } from "./stream.js";
import type { Callback, Data, Payload, RequestOptions, StreamOptions } from "./types.js";
/** What waits for a result: one request, or one stream. */
export interface Pending {
    _result(t: number, payload: Data, wait: number): void;
    /** The connection is gone. */
    _finish(err: unknown): void;
    /** Set while a request waits for its next try. */
    _retry?: Timer;
    /** More of a stream may be sent: the peer allows n bytes more, or it is known what it can do. */
    _pump?(n?: number): void;
}
/** What goes before a request, if the peer reads it. */
export interface Extra {
    meta: Record<string, string>;
    deadline?: number;
}
type Timer = ReturnType<typeof setTimeout> | undefined;
/** Has the signal and the timeout end a request. Also returns what is to be called when it has ended by itself. */
export declare function limit({ signal, timeout, meta }: RequestOptions, end: (err: unknown) => void): [stop: () => void, extra: Extra];
/** Makes a request. value is what encode makes a payload of, or the callback if there is no value. */
export declare function request<T>(s: Sock<any>, op: string, value: unknown, arg: RequestOptions | Callback<T> | undefined, encode: (value: any) => Payload, decode: (data: Data) => T): Promise<T | void>;
/** Begins a stream: at once, or if it has no options with the first write. */
export declare function stream(s: Sock<any>, op: string, options?: StreamOptions<any>): Stream;
export {};
