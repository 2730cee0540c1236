import { EventEmitter } from "./events";
import type { Data, Payload } from "./handlers";

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
export class Stream extends EventEmitter<StreamEvents> {
  /** @internal Nothing more is sent. */
  _done = false;
  private _ended = false;

  /** @internal */
  constructor(
    readonly op: string,
    readonly id: string,
    private _write: (buf: Payload) => unknown,
  ) {
    super();
  }

  /** Sends a chunk; an empty one, or none, ends this direction of the stream. Afterwards nothing is sent any more. */
  write(buf?: Payload): void {
    if (!this._done && !this._write(buf)) this._done = true;
  }

  /** Ends this direction of the stream. */
  end(): void {
    this.write();
  }

  /** @internal */
  _finish(err: Error | null): void {
    if (this._ended) return;
    this._ended = true;
    this.emit("end", err);
  }
}

/** A stream request of ours. The end of the answer, or its failure, ends it altogether. */
export class StreamRequest extends Stream {
  /** @internal */
  override _finish(err: Error | null): void {
    this._done = true;
    super._finish(err);
  }
}

/**
 * A stream request of the peer's. The answer may go on after the request has ended; the end of the answer ends the
 * stream altogether.
 */
export class StreamResponse extends Stream {
  /** @internal */
  constructor(op: string, id: string, write: (buf: Payload) => unknown, private _refuse: (err: unknown) => void) {
    super(op, id, write);
  }

  /** Fails the request: the requestor gets err.message, or err as a string. */
  error(err: unknown): void {
    if (!this._done) this._refuse(err);
    this._done = true;
  }

  /** @internal */
  _fail(err: Error): void {
    this._done = true;
    this._finish(err);
  }
}
