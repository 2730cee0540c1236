/**
 * What a failure means, as a word that a program can branch on. Peers may use others of their own, in lower snake case.
 */
export type Code =
  | "canceled" | "unknown" | "invalid_argument" | "deadline_exceeded" | "not_found" | "already_exists"
  | "permission_denied" | "resource_exhausted" | "failed_precondition" | "aborted" | "out_of_range" | "unimplemented"
  | "internal" | "unavailable" | "data_loss" | "unauthenticated";

/** A request or stream that failed. `code` is a word that a program can branch on; `message` is for people. */
export class GotalkError extends Error {
  readonly code: string;
  /** More about it, as JSON can tell it. Undefined if there is nothing. */
  readonly details: any;
  /** @internal The peer is to try again after so many milliseconds. */
  _wait?: number;

  /** `code` is "unknown" unless given, and best one of `Code`. */
  constructor(message: string, code: Code | (string & {}) = "unknown", details?: unknown) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * Makes an error that asks the requestor to try again after that many milliseconds: for a handler to throw, or to
 * reject with. One that does not try again sees code "unavailable" and the reason.
 */
export function retryAfter(ms: number, reason = ""): GotalkError {
  const err = new GotalkError(reason, "unavailable");
  err._wait = Math.max(0, ms) >>> 0;
  return err;
}

/** The code of an error that was made to be told to a peer; undefined for any other. Those of Node are in capitals. */
export const codeOf = (err: any): string | undefined =>
  err instanceof GotalkError || (typeof err?.code == "string" && /^[a-z_]+$/.test(err.code)) ? err.code : undefined;

export const canceled = () => new GotalkError("canceled", "canceled");

/** What closed a connection when one of the peers broke the protocol. There is one object for each code. */
export interface ProtocolError extends Error {
  readonly isGotalkProtocolError: true;
  /** 0 abnormal, 1 unsupported version, 2 invalid message, 3 timeout */
  readonly code: number;
}

const errors = ["abnormal condition", "unsupported protocol", "invalid protocol message", "timeout"].map(
  (message, code): ProtocolError => Object.assign(Error(message), { isGotalkProtocolError: true as const, code }),
);

export const [ErrAbnormal, ErrUnsupported, ErrInvalidMsg, ErrTimeout] = errors as
  [ProtocolError, ProtocolError, ProtocolError, ProtocolError];

/** The error for a code from the wire. A code that nobody assigned makes an invalid message. */
export const protocolError = (code: number): ProtocolError => errors[code] || ErrInvalidMsg;

/**
 * Calls a function of the user's. What it throws is reported as an uncaught error, after whatever goes on here:
 * a mistake in a listener must neither be hidden nor stop the connection that called it.
 */
export function call<A extends unknown[]>(fn: ((...args: A) => unknown) | undefined | null, ...args: A): void {
  try {
    fn?.(...args);
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}
