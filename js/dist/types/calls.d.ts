import type { Sock } from "./sock.js";
import { StreamRequest } from "./stream.js";
import type { Callback, Data, Payload, RequestOptions } from "./types.js";
/** What waits for a result: one request, or one stream. */
export interface Pending {
    _result(t: number, payload: Data, wait: number): void;
    /** The connection is gone. */
    _finish(err: Error | null): void;
}
/** Makes a request. value is what encode makes a payload of, or the callback if there is no value. */
export declare function request<T>(s: Sock<any>, op: string, value: unknown, arg: RequestOptions | Callback<T> | undefined, encode: (value: any) => Payload, decode: (data: Data) => T): Promise<T | void>;
export declare function streamRequest(s: Sock<any>, op: string): StreamRequest;
