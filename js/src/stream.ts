import { canceled, GotalkError } from "./errors";
import { EventEmitter } from "./events";
import { window } from "./extensions";
import { binary, MsgTypeStreamRes, pack, toBytes, toText, type Body } from "./protocol";
import type { Sock } from "./sock";
import type { Data, GotalkStream, Payload, StreamResponse } from "./types";

export type StreamEvents = {
  /** A chunk has come. */
  data: [chunk: NonNullable<Data>];
  /** No more chunks will come: null, or why the stream failed. */
  end: [err: Error | null];
};

const ended = () => new GotalkError("stream ended", "aborted");

type Out = [body: Body, resolve?: () => void, reject?: (err: unknown) => void];

/**
 * One end of a stream, of either side and either kind: events for those of streamRequest, a queue for those that are
 * iterated. What is sent waits for credit, so that a slow consumer holds up its own producer and nobody else.
 */
export class Stream extends EventEmitter<StreamEvents> implements GotalkStream, StreamResponse {
  private _control = new AbortController();
  readonly signal = this._control.signal;
  declare deadline?: number;
  declare meta: Record<string, string>;
  /** @internal What has come and was not consumed; undefined if the consumer listens to events. */
  _in?: Uint8Array<ArrayBuffer>[];
  /** @internal */
  _json?: boolean;
  /** @internal The result was sent or received, or will never be. */
  _ended?: boolean;

  private _eof?: boolean; // no more will come
  private _wake?: () => void;
  private _due = 0; // bytes received for which no credit was given back
  private _taken = 0; // those of them that were consumed
  // What waits for credit; bytes sent for which none came back.
  private _out: Out[] = [];
  private _sent = 0;
  /** @internal end was called. */
  _closed?: boolean;
  private _readable?: ReadableStream<any>;
  private _writable?: WritableStream<any>;

  /**
   * gets is the type of the parts that come. write sends a part, or the end. end is called when the stream is over, with
   * why if it failed, and whether the peer knows that.
   */
  constructor(
    readonly sock: Sock, readonly op: string, readonly id: string, private _gets: number,
    private _write: (body: Body) => void, private _end: (err: unknown, told?: boolean) => void,
  ) {
    super();
  }

  /** @internal */
  _encode(v: any): Payload {
    return this._json ? JSON.stringify(v) : v;
  }

  /** @internal Sends a part, or the end, when there is credit for it. */
  _add(body?: Body, resolve?: Out[1], reject?: Out[2]): void {
    if (this._closed || this._ended) {
      reject?.(this.signal.reason ?? ended());
      return;
    }
    this._closed = !body;
    this._out.push([body?.slice() as Body, resolve, reject]); // the user may change it before it is sent
    this._pump();
  }

  /** @internal Sends what there is credit for, after n more bytes of it. A large part needs half a window. */
  _pump(n = 0): void {
    this._sent -= n;
    const most = this.sock._conn?._window || window; // a peer that has not said hello yet is taken to be like us
    for (let m; (m = this._out[0]); m[1]?.()) {
      const n = toBytes(m[0] || "").length;
      if (n && Math.min(n, most / 2) > most - this._sent) return;
      this._out.shift();
      this._sent += n;
      this._write(m[0]);
    }
  }

  /** @internal A part has come. */
  _part(data: Data): void {
    if (!data) return this._close(null);
    if (this._eof) return;
    const b = toBytes(data);
    if (this._due >= 2 * window && this.sock._conn!._can("credit")) { // it may have begun before it knew the window
      this._finish(new GotalkError("stream window exceeded", "resource_exhausted"));
      return;
    }
    this._due += b.length;
    if (this._in) {
      this._in.push(b);
      this._wake?.();
    } else {
      this.emit("data", data);
      this._took(b.length);
    }
  }

  // n bytes were consumed. Credit goes back when that makes up half the window, or if nothing is left an eighth.
  private _took(n: number): void {
    this._taken += n;
    if (!this._eof && this._taken >= window / (this._in?.length ? 2 : 8)) {
      this.sock._conn!._say("credit", binary.makeMsg(this._gets, this.id, null, 0, this._taken));
      this._due -= this._taken;
      this._taken = 0;
    }
  }

  /** @internal No more parts will come. */
  _close(err: unknown): void {
    if (this._eof) return;
    this._eof = true;
    this.emit("end", err as Error | null);
    this._wake?.();
  }

  /** @internal The stream is over: null after an orderly end. told: the peer knows. */
  _finish(err: unknown, told?: boolean): void {
    if (this._ended) return;
    this._ended = true;
    if (!told && this._in) this._in = [];
    this._close(err);
    if (err !== null) this._control.abort(err);
    for (const m of this._out.splice(0)) m[2]?.(err ?? ended());
    this._end(err, told);
  }

  // The consumer has gone away. A handler may still have something to send.
  private _leave(reason?: unknown): void {
    if (this._gets == MsgTypeStreamRes) this.cancel(reason);
  }

  write(buf?: Payload): void {
    this._add(pack(buf));
  }

  send(v: any): Promise<void> {
    return new Promise((resolve, reject) => {
      const body = pack(this._encode(v));
      if (body) this._add(body, resolve, reject);
      else resolve(); // an empty part would be the end
    });
  }

  end(): void {
    this._add();
  }

  cancel(reason: unknown = canceled()): void {
    this._finish(reason);
  }

  error(err: unknown): void {
    this._finish(err);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<any, void, undefined> {
    try {
      for (;;) {
        for (let b; (b = this._in!.shift()); ) {
          this._took(b.length);
          yield this._json ? JSON.parse(toText(b)) : b;
        }
        if (this._eof) return this.signal.throwIfAborted();
        await new Promise<void>((resolve) => (this._wake = resolve));
      }
    } finally {
      this._leave();
    }
  }

  get readable(): ReadableStream<any> {
    const chunks = this[Symbol.asyncIterator]();
    return (this._readable ||= new ReadableStream({
      pull: (c) => chunks.next().then((r) => (r.done ? c.close() : c.enqueue(r.value))),
      cancel: (reason) => this._leave(reason),
    }));
  }

  get writable(): WritableStream<any> {
    return (this._writable ||= new WritableStream({
      write: (v) => this.send(v),
      close: () => this.end(),
      abort: (reason) => this.cancel(reason),
    }));
  }
}
