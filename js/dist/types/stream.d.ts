import { EventEmitter } from "./events.js";
import { type Body } from "./protocol.js";
import type { Sock } from "./sock.js";
import type { Data, GotalkStream, Payload, StreamResponse } from "./types.js";
export type StreamEvents = {
    /** A chunk has come. */
    data: [chunk: NonNullable<Data>];
    /** No more chunks will come: null, or why the stream failed. */
    end: [err: Error | null];
};
/**
 * One end of a stream, of either side and either kind: events for those of streamRequest, a queue for those that are
 * iterated. What is sent waits for credit, so that a slow consumer holds up its own producer and nobody else.
 */
export declare class Stream extends EventEmitter<StreamEvents> implements GotalkStream, StreamResponse {
    readonly sock: Sock;
    readonly op: string;
    readonly id: string;
    private _gets;
    private _write;
    private _end;
    private _control;
    readonly signal: AbortSignal;
    deadline?: number;
    meta: Record<string, string>;
    private _eof?;
    private _wake?;
    private _due;
    private _taken;
    private _out;
    private _sent;
    private _readable?;
    private _writable?;
    /**
     * gets is the type of the parts that come. write sends a part, or the end. end is called when the stream is over, with
     * why if it failed, and whether the peer knows that.
     */
    constructor(sock: Sock, op: string, id: string, _gets: number, _write: (body: Body) => void, _end: (err: unknown, told?: boolean) => void);
    private _took;
    private _leave;
    write(buf?: Payload): void;
    send(v: any): Promise<void>;
    end(): void;
    cancel(reason?: unknown): void;
    error(err: unknown): void;
    [Symbol.asyncIterator](): AsyncGenerator<any, void, undefined>;
    get readable(): ReadableStream<any>;
    get writable(): WritableStream<any>;
}
