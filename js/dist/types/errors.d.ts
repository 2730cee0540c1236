/** A request that failed. `code` is a word that a program can branch on; `message` is for people. */
export declare class GotalkError extends Error {
    readonly code: string;
    /** `code` is "unknown" unless given. */
    constructor(message: string, code?: string);
}
/** What closed a connection when one of the peers broke the protocol. There is one object for each code. */
export interface ProtocolError extends Error {
    readonly isGotalkProtocolError: true;
    /** 0 abnormal, 1 unsupported version, 2 invalid message, 3 timeout */
    readonly code: number;
}
export declare const ErrAbnormal: ProtocolError, ErrUnsupported: ProtocolError, ErrInvalidMsg: ProtocolError, ErrTimeout: ProtocolError;
/** The error for a code from the wire. A code that nobody assigned makes an invalid message. */
export declare const protocolError: (code: number) => ProtocolError;
/**
 * Calls a function of the user's. What it throws is reported as an uncaught error, after whatever goes on here:
 * a mistake in a listener must neither be hidden nor stop the connection that called it.
 */
export declare function call<A extends unknown[]>(fn: ((...args: A) => unknown) | undefined | null, ...args: A): void;
