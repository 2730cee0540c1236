import type { Extra } from "./calls.js";
import { type ProtocolError } from "./errors.js";
import { type Body } from "./protocol.js";
import type { Sock } from "./sock.js";
/**
 * One WebSocket: messages in and out, nothing about what they mean. A Sock makes one for each connection and so can
 * tell what belongs to an earlier one.
 */
export declare class Conn {
    readonly _ws: WebSocket;
    private _sock;
    /** The version was sent and no close is under way. */
    _open?: boolean;
    /** It was open at some time. */
    _wasOpen?: boolean;
    /** Messages are handed on, not only kept. */
    _reading?: boolean;
    /** Headers are sent in text messages. */
    _text?: boolean;
    /** Why the connection is being closed, if a peer broke the protocol. Nothing is read any more. */
    _err?: ProtocolError;
    /** What the peer said in its hello. */
    _peer?: Record<string, unknown>;
    /** How many bytes of a stream the peer takes before it has consumed any. Undefined until that is known. */
    _window?: number;
    /** The id of the next request, and what the peer said of it. */
    _meta?: [id: string, meta: Record<string, unknown>];
    /** The peer wants no more requests here. */
    _away?: {
        after_ms: number;
        jitter_ms: number;
    };
    /** The peer answers heartbeats: it said hello and has sent one. */
    _answers?: boolean;
    /** Runs while a sign of life is awaited. */
    _probe?: ReturnType<typeof setTimeout>;
    _timer?: ReturnType<typeof setTimeout>;
    /** When the last heartbeat was sent. */
    _beatAt: number;
    /** How many payloads are leaving in parts. */
    _leaving: number;
    /** Tells open() that the connection could not be made. */
    _failed?: ((err: Error) => void) | null;
    private _in;
    private _busy?;
    private _rest;
    private _size;
    private _parser;
    private _want;
    private _batch;
    private _batched;
    constructor(_ws: WebSocket, _sock: Sock<any>);
    /** Says whether the peer can do what a key of its hello stands for. */
    _can(key: string): boolean;
    /** Sends a message, and before it what the peer is to know of it. Large payloads of requests and results leave in parts. */
    _write(t: number, id: string | null, name?: string | null, body?: Body, wait?: number, { meta, deadline }?: Partial<Extra>, owner?: any): void;
    /** Sends an extension message, if the peer acts on it, and says whether it does. */
    _say(name: string, body: Body): boolean;
    /** Sends header and payload: at once, as one WebSocket message for each, or joined with others. */
    _send(header: Uint8Array<ArrayBuffer>, body?: Body): void;
    private _push;
    private _flush;
    _close(code: number): void;
    /** Tells the peer that it, or we, broke the protocol, and closes. */
    _closeError(code: number): void;
    /** Closes for a protocol error that both sides know of. */
    _broken(code: number): void;
    /** Ends the wait for a sign of life. */
    _alive(): void;
    _receive(data: unknown): void;
    /** Takes what was received. A call from within, by a WebSocket that answers at once, leaves it to the one at work. */
    _pump(): void;
    /** Gives the next piece of the byte stream to the parser. Throws if it makes no sense. */
    private _feed;
    private _parse;
}
