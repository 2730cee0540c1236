import { EventEmitter } from "./events";
import type { Data, Payload } from "./types";

export type StreamEvents = {
  /** A chunk has come. */
  data: [chunk: NonNullable<Data>];
  /** No more chunks will come: null, or why the stream failed. */
  end: [err: Error | null];
};

/**
 * One end of a stream of chunks in both directions. Chunks that come while nobody listens to `data` are lost, so
 * listeners are to be added in the tick in which the stream was made or received.
 */
export class StreamRequest extends EventEmitter<StreamEvents> {
  private _ended = false;

  /** @internal */
  constructor(readonly op: string, readonly id: string, private _write: (buf: Payload) => void) {
    super();
  }

  /** Sends a chunk; an empty one, or none, ends this direction of the stream. Afterwards nothing is sent any more. */
  write(buf?: Payload): void {
    this._write(buf);
  }

  /** Ends this direction of the stream. */
  end(): void {
    this._write(null);
  }

  /** @internal */
  _finish(err: Error | null): void {
    if (this._ended) return;
    this._ended = true;
    this.emit("end", err);
  }
}

/**
 * A stream request of the peer's. The answer may go on after the request has ended; the end of the answer ends the
 * stream altogether.
 */
export interface StreamResponse extends StreamRequest {
  /** Fails the request: the requestor gets err.message, or err as a string. */
  error(err: unknown): void;
}
