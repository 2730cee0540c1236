import { resolve } from "./address";
import { Conn, type Body } from "./conn";
import { env } from "./env";
import { call, ErrInvalidMsg, ErrTimeout, GotalkError } from "./errors";
import { EventEmitter } from "./events";
import { Handlers, reserved, serve, type AnyOps, type Data, type In, type Name, type Out, type Payload, type Result }
  from "./handlers";
import { KeepAlive } from "./keepalive";
import {
  binary, MsgTypeErrorRes, HeartbeatMsgMaxLoad, MsgTypeHeartbeat, MsgTypeNotification, MsgTypeProtocolError, MsgTypeRetryRes,
  MsgTypeSingleReq, MsgTypeSingleRes, MsgTypeStreamReq, MsgTypeStreamReqPart, MsgTypeStreamRes, text, toBytes, toText,
  utf8, type Header, type Protocol,
} from "./protocol";
import { StreamRequest, StreamResponse } from "./stream";

export type SockEvents<S = Sock> = {
  /** Connected; requests may be made. */
  open: [sock: S];
  /** The connection is gone: null after an orderly close, otherwise why. All pending requests have failed. */
  close: [err: Error | null];
  heartbeat: [beat: { time: Date; load: number }];
};

export type Callback<T> = (err: Error | null, value?: T) => void;

export interface RequestOptions {
  /** Ends the request when aborted: it fails with signal.reason and its result is ignored. */
  signal?: AbortSignal;
  /** Milliseconds until the request fails with code "deadline_exceeded". No limit by default. */
  timeout?: number;
  /** How often the request is sent again when the peer asks for that, after the wait that it asks for. 3 by default. */
  retries?: number;
}

/** A WebSocket class that has the interface of the browsers', for example that of the package ws. */
export type WebSocketClass = new (url: string) => object;

export interface SockOptions<O extends object = AnyOps> {
  handlers?: Handlers<any>;
  protocol?: Protocol;
  /** What connections are made with, instead of the global WebSocket. */
  WebSocket?: WebSocketClass;
  /** Say no hello: speak plain protocol 1 even to a peer that knows more. */
  noExtensions?: boolean;
  heartbeatInterval?: number;
  sendBufferLimit?: number;
  /** @internal keeps O in the type */
  _ops?: O;
}

/** Rest arguments of a call of F: the value may be left out if F takes none. */
export type CallArgs<F, Options> =
  undefined extends In<F> ? [value?: In<F>, options?: Options] : [value: In<F>, options?: Options];

// What waits for a result: one request, or one stream.
interface Pending {
  _result(t: number, payload: Data, wait: number): void;
  _fail(err: Error): void;
}

const closeNames: Record<number, string> = {
  1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported", 1005: "no status",
  1006: "abnormal", 1007: "inconsistent", 1008: "invalid message", 1009: "too large",
};

const maxWait = 60000; // for a retry, whatever the peer asks for
const aliveWait = 5000; // for a sign of life after a sleep
const deadAfter = 90000; // silence that connections to peers that do not answer heartbeats cannot have survived

const base36 = (n: number, digits: number) => n.toString(36).padStart(digits, "0");

const message = (err: any): string => (err?.message ?? String(err));

/** Undefined for an empty payload. Throws a TypeError for what is neither a string nor a BufferSource. */
function pack(v: Payload): Body | undefined {
  if (v == null) return;
  const b = typeof v == "string" ? utf8(v) : toBytes(v);
  return b.length ? { _data: typeof v == "string" ? v : b, _bytes: b } : undefined;
}

const closed = () => new GotalkError("connection closed", "unavailable");
const noSuchOperation = (op: string) => `no such operation "${op}"`;

function checkName(name: string): void {
  if (reserved(name)) throw new GotalkError('names that begin with "gotalk:" are reserved: ' + name, "invalid_argument");
  if (utf8(name).length > 4095) throw new GotalkError("name is longer than 4095 bytes", "invalid_argument");
}

// What a peer is told of an exception in a handler: nothing, unless it was made to be told.
function internal(err: unknown): unknown {
  if (env.developmentMode) console.error("gotalk: error in handler:", err);
  return err instanceof GotalkError ? err : "internal error";
}

type Timer = ReturnType<typeof setTimeout> | undefined;

/**
 * A peer at the other end of a WebSocket. O describes the operations that it offers, by an interface of functions.
 * All methods may be called at any time; what is sent before the connection is open waits in a queue.
 */
export class Sock<O extends object = AnyOps> extends EventEmitter<SockEvents<Sock<O>>> {
  readonly handlers: Handlers<any>;
  /** Change it before connecting. */
  protocol: Protocol = binary;
  /** Milliseconds between heartbeats; 0 for none. A value below 10 is an error. */
  heartbeatInterval = 20000;
  /** How many messages may wait for the connection to open. Sending more fails with `socket is closed`. */
  sendBufferLimit = 100;
  noExtensions = false;
  WebSocket?: WebSocketClass;
  /** The current WebSocket. */
  ws: WebSocket | null = null;
  /** What keeps the connection open, after openKeepAlive. */
  keepalive: KeepAlive | null = null;

  /** @internal The current connection. What belongs to an earlier one compares different. */
  _conn?: Conn;
  private _pending = new Map<string, Pending>();
  private _served = new Map<string, StreamResponse>();
  private _queue: { _id?: string | null; _header: Uint8Array<ArrayBuffer>; _body?: Body }[] = [];
  private _nextOp = 0;
  private _nextStream = 0;
  // end() was called and waits for pending results.
  private _ending = false;

  constructor(handlers?: Handlers<any> | SockOptions<O> | null, proto?: Protocol | null) {
    super();
    const options = handlers && !("findRequestHandler" in handlers) ? handlers : { handlers };
    this.handlers = options.handlers || new Handlers();
    const { handlers: _, ...rest } = { ...options, ...(proto && { protocol: proto }) } as SockOptions<O>;
    Object.assign(this, rest);
  }

  /** Connects to addr, or to the default address. cb is called once, with null or with why that failed. */
  open(addr?: string | null | Callback<this>, cb?: Callback<this>): this {
    if (typeof addr == "function") {
      cb = addr;
      addr = null;
    }
    const url = resolve(addr);
    this._drop(null); // an earlier connection, if there is one
    let ws: WebSocket;
    try {
      const WS = this.WebSocket || globalThis.WebSocket;
      if (!WS) throw new Error("there is no WebSocket here: set the option WebSocket to a class like that of the package ws");
      ws = new WS(url) as WebSocket;
    } catch (err) {
      call(cb, err as Error);
      this.emit("close", err as Error);
      return this;
    }
    const conn = this._attach(ws);
    conn._failed = cb;
    ws.onopen = () => {
      if (this._conn != conn) return;
      this.handshake();
      if (cb) call(cb, null, this);
      this.emit("open", this);
      if (this._conn == conn) this.startReading();
    };
    return this;
  }

  /** Connects, and again whenever the connection could not be made or was lost, until end() is called. */
  openKeepAlive(addr?: string | null): this {
    this.keepalive?.disable();
    this.keepalive = new KeepAlive(this, addr);
    this.keepalive.enable();
    return this;
  }

  /**
   * Takes over a WebSocket that is open; handshake and startReading are to be called next. What it receives before
   * is kept.
   */
  adoptWebSocket(ws: WebSocket): void {
    if (ws.readyState != 1) throw new Error("the WebSocket is not open");
    this._drop(null);
    this._attach(ws);
  }

  adopt(ws: WebSocket): void {
    this.adoptWebSocket(ws);
  }

  private _attach(ws: WebSocket): Conn {
    const conn: Conn = new Conn(ws, () => call(() => this.startSendingHeartbeats()), (h, payload) => this._onMsg(conn, h, payload));
    this.ws = ws;
    this._conn = conn;
    // A WebSocket that was replaced goes on calling these, to no effect.
    ws.onmessage = (ev) => {
      clearTimeout(conn._probe);
      conn._probe = undefined;
      conn._receive(ev.data);
    };
    ws.onerror = () => {}; // onclose follows
    ws.onclose = (ev) => {
      if (this._conn != conn) return;
      const name = closeNames[ev.code];
      const reason = `#${ev.code}${name ? ` (${name})` : ""}`;
      if (conn._wasOpen) this._lost(conn._err || (ev.code == 1000 ? null : new Error("websocket closed: " + reason)));
      else this._lost(new Error("connection failed: " + reason));
    };
    return conn;
  }

  /** Sends the version, what we can do beyond it, and what was queued. */
  handshake(): void {
    const conn = this._conn!;
    conn._text = this.protocol == text;
    conn._send(binary.versionBuf);
    conn._open = conn._wasOpen = true;
    if (!this.noExtensions) this._send(MsgTypeNotification, null, "gotalk:hello", pack('{"join":1}'));
    for (const m of this._queue) conn._send(m._header, m._body);
    this._queue = [];
  }

  startReading(): void {
    this._conn!._reading = true;
    this._conn!._pump();
  }

  /**
   * Stops keeping the connection open and closes it: when the results of pending requests have come, or at once if
   * there are none or on a second call. Requests that were still queued fail.
   */
  end(): void {
    this.keepalive?.disable();
    const conn = this._conn;
    if (conn?._open) {
      if (this._pending.size && !this._ending) this._ending = true;
      else conn._close(1000);
    } else if (!conn?._wasOpen) {
      this._drop(null);
      this._failAll(closed());
    }
  }

  /** Tells the peer of a protocol error, and closes the connection. */
  closeError(code: number): void {
    if (this._conn?._open) this._conn._closeError(code);
  }

  /** The URL of the current connection. */
  address(): string | null {
    return this.ws && this.ws.url;
  }

  /** @internal Gives the current connection up, without waiting for the peer. */
  _drop(err: Error | null): void {
    const conn = this._conn;
    if (!conn) return;
    conn._close(1000);
    this._lost(err);
  }

  // The connection is gone, or could not be made.
  private _lost(err: Error | null): void {
    const conn = this._conn!;
    conn._open = conn._reading = false;
    clearTimeout(conn._timer);
    clearTimeout(conn._probe);
    this._conn = undefined;
    this.ws = null;
    this._ending = false;
    if (!conn._wasOpen) return call(conn._failed, err || closed());
    this._nextOp = 0;
    this._failAll(err || closed());
    this.keepalive?._closed(err);
    this.emit("close", err);
  }

  // Only notifications stay in the queue: of the rest, somebody has just been told that it failed.
  private _failAll(err: Error): void {
    const all = [...this._pending.values(), ...this._served.values()];
    this._queue = this._queue.filter((m) => !m._id);
    this._pending = new Map();
    this._served = new Map();
    for (const p of all) p._fail(err);
  }

  private _send(t: number, id: string | null, name?: string | null, body?: Body): void {
    const header = binary.makeMsg(t, id, name, 0, body?._bytes.length);
    if (this._conn?._open) return this._conn._send(header, body);
    if (this._queue.length >= this.sendBufferLimit) throw new GotalkError("socket is closed", "unavailable");
    // The user may change the payload before it is sent.
    if (body) body = { ...body, _data: body._data.slice() as Body["_data"] };
    this._queue.push({ _id: id, _header: header, _body: body });
  }

  /** Sends a notification. Throws if it can neither be sent nor queued. */
  notify<K extends Name<O>>(name: K, ...args: CallArgs<O[K], never>): void {
    this.bufferNotify(name, JSON.stringify(args[0]));
  }

  bufferNotify(name: string, buf?: Payload): void {
    checkName(name);
    this._send(MsgTypeNotification, null, name, pack(buf));
  }

  /**
   * Calls an operation of the peer's, with JSON both ways. Resolves to null for an empty result. Fails with a
   * GotalkError, with a ProtocolError if that ended the connection, or with the reason of the signal. With a
   * callback, the promise resolves to undefined instead, and never fails.
   */
  request<K extends Name<O>>(op: K, cb: Callback<Out<O[K]>>): Promise<void>;
  request<K extends Name<O>>(op: K, value: In<O[K]>, cb: Callback<Out<O[K]>>): Promise<void>;
  request<K extends Name<O>>(op: K, ...args: CallArgs<O[K], RequestOptions>): Promise<Out<O[K]>>;
  request(op: string, value?: unknown, arg?: RequestOptions | Callback<any>): Promise<any> {
    return this._request(op, value, arg, JSON.stringify, (data) => (data?.length ? JSON.parse(toText(data)) : null));
  }

  /** The same as request. */
  declare requestp: this["request"];

  /** Calls an operation with a raw payload. Resolves to the raw result, undefined if empty. */
  bufferRequest(op: string, cb: Callback<Data>): Promise<void>;
  bufferRequest(op: string, buf: Payload, cb: Callback<Data>): Promise<void>;
  bufferRequest(op: string, buf?: Payload, options?: RequestOptions): Promise<Data>;
  bufferRequest(op: string, buf?: Payload | Callback<Data>, arg?: RequestOptions | Callback<Data>): Promise<any> {
    return this._request(op, buf, arg, (v) => v as Payload, (data) => data);
  }

  /** The same as bufferRequest. */
  declare bufferRequestp: this["bufferRequest"];

  private _request<T>(
    op: string, value: unknown, arg: RequestOptions | Callback<T> | undefined,
    encode: (value: unknown) => Payload, decode: (data: Data) => T,
  ): Promise<T | void> {
    if (typeof value == "function") {
      arg = value as Callback<T>;
      value = undefined;
    }
    const cb = typeof arg == "function" ? arg : undefined;
    const { signal, timeout, retries = 3 } = cb ? ({} as RequestOptions) : (arg as RequestOptions) || {};
    const promise = new Promise<T>((resolve, reject) => {
      checkName(op);
      signal?.throwIfAborted();
      const body = pack(encode(value));
      let id = this._newID();
      let tries = 0;
      let retry: Timer, deadline: Timer;
      const send = () => {
        try {
          this._send(MsgTypeSingleReq, id, op, body);
        } catch (err) {
          fail(err);
        }
      };
      const done = () => {
        clearTimeout(retry);
        clearTimeout(deadline);
        signal?.removeEventListener("abort", abort);
        this._forget(id, pending);
      };
      const fail = (err: unknown) => {
        done();
        reject(err);
      };
      const abort = () => fail(signal!.reason);
      const pending: Pending = {
        _fail: fail,
        _result: (t, data, wait) => {
          if (t == MsgTypeRetryRes && tries++ < retries) {
            this._pending.delete(id);
            this._pending.set((id = this._newID()), pending);
            retry = setTimeout(send, Math.min(wait, maxWait));
            return;
          }
          done();
          if (t == MsgTypeErrorRes) reject(new GotalkError(toText(data)));
          else if (t == MsgTypeRetryRes) reject(new GotalkError(toText(data), "resource_exhausted"));
          else resolve(data as never);
        },
      };
      this._pending.set(id, pending);
      signal?.addEventListener("abort", abort);
      if (timeout) {
        deadline = setTimeout(
          () => fail(new GotalkError(`request "${op}" timed out after ${timeout} ms`, "deadline_exceeded")), timeout);
      }
      send();
    }).then(decode as never) as Promise<T>;
    return cb ? promise.then((v) => call(cb, null, v), (err) => call(cb, err)) : promise;
  }

  private _newID(): string {
    let id;
    do id = base36(this._nextOp++ % 36 ** 4, 4);
    while (this._pending.has(id));
    return id;
  }

  // A request has its result, or nobody waits for it any more.
  private _forget(id: string, pending: Pending): void {
    if (this._pending.get(id) != pending) return; // it was failed together with its connection
    this._pending.delete(id);
    this._queue = this._queue.filter((m) => m._id != id);
    if (this._ending && !this._pending.size && this._conn?._open) this._conn._close(1000);
  }

  /** Begins a stream request; nothing is sent before the first write. */
  streamRequest(op: string): StreamRequest {
    checkName(op);
    let id: string;
    do {
      // Old Go peers never forget the id of a stream, so all that can be told apart are used before one comes again.
      const n = this._nextStream++;
      id = String.fromCharCode(33 + ((n / 36 ** 3) % 15)) + base36(n % 36 ** 3, 3);
    } while (this._pending.has(id));
    let begun = false;
    const stream = new StreamRequest(op, id, (v) => {
      const body = pack(v);
      if (!begun) this._send(MsgTypeStreamReq, id, op, body);
      // An empty first part does not end a stream, so the end follows it.
      if (begun || !body) this._send(MsgTypeStreamReqPart, id, null, body);
      begun = true;
      return body;
    });
    const pending: Pending = {
      _fail: (err) => stream._finish(err),
      _result: (t, data) => {
        const failed = t == MsgTypeErrorRes || t == MsgTypeRetryRes;
        if (data && !failed) stream.emit("data", data);
        if (t == MsgTypeStreamRes && data) return;
        this._forget(id, pending);
        stream._finish(failed ? new GotalkError(toText(data)) : null);
      },
    };
    this._pending.set(id, pending);
    return stream;
  }

  private _onMsg(conn: Conn, { t, id = "", name = "", wait, size }: Header, data: Data): void {
    switch (t) {
      case MsgTypeSingleReq:
        this._serve(conn, id, name, data);
        break;
      case MsgTypeStreamReq:
        this._serveStream(conn, id, name, data);
        break;
      case MsgTypeStreamReqPart: {
        // The stream may be refused or answered already, which its sender cannot know.
        const stream = this._served.get(id);
        if (data) stream?.emit("data", data);
        else stream?._finish(null);
        break;
      }
      case MsgTypeSingleRes:
      case MsgTypeStreamRes:
      case MsgTypeErrorRes:
      case MsgTypeRetryRes:
        this._pending.get(id)?._result(t, data, wait);
        break;
      case MsgTypeNotification:
        if (name == "gotalk:hello") {
          const hello = Object(JSON.parse(toText(data)));
          if (this.noExtensions) return;
          conn._hello = hello;
          conn._join = !!hello.join;
        } else if (!reserved(name)) {
          call(this.handlers.findNotificationHandler(name), data, name);
        }
        break;
      case MsgTypeHeartbeat:
        this.emit("heartbeat", { time: new Date(size * 1000), load: wait });
        break;
      case MsgTypeProtocolError:
        conn._broken(size);
        break;
      default:
        throw ErrInvalidMsg;
    }
  }

  // Answers a request once, and only over the connection that it came from.
  private _replier(conn: Conn, id: string): (t: number, v: Payload) => void {
    let done = false;
    return (t, v) => {
      const body = pack(v);
      if (!done && this._conn == conn && conn._open) this._send(t, id, null, body);
      done = true;
    };
  }

  private _serve(conn: Conn, id: string, op: string, data: Data): void {
    const reply = this._replier(conn, id);
    const handler = !reserved(op) && this.handlers.findRequestHandler(op);
    if (!handler) return reply(MsgTypeErrorRes, noSuchOperation(op));
    const result: Result<Payload> = Object.assign(
      (v?: Payload) => reply(MsgTypeSingleRes, v),
      { error: (err: unknown) => reply(MsgTypeErrorRes, message(err)) },
    );
    try {
      serve(handler, data, result, op);
    } catch (err) {
      result.error(internal(err));
    }
  }

  private _serveStream(conn: Conn, id: string, op: string, data: Data): void {
    if (this._served.has(id)) throw ErrInvalidMsg;
    const reply = this._replier(conn, id);
    const handler = !reserved(op) && this.handlers.findStreamRequestHandler?.(op);
    if (!handler) return reply(MsgTypeErrorRes, noSuchOperation(op));
    const over = () => this._served.get(id) == stream && this._served.delete(id);
    const stream: StreamResponse = new StreamResponse(op, id, (v) => {
      const body = pack(v);
      if (this._conn == conn && conn._open) this._send(MsgTypeStreamRes, id, null, body);
      if (!body) over();
      return body;
    }, (err) => {
      reply(MsgTypeErrorRes, message(err));
      over();
    });
    this._served.set(id, stream);
    try {
      const r: any = handler(stream, op);
      if (typeof r?.then == "function") r.then(() => stream.end(), (err: unknown) => stream.error(err));
    } catch (err) {
      stream.error(internal(err));
    }
    if (data) stream.emit("data", data);
  }

  /** load is from 0 (idle) to 1 (takes no more work). */
  sendHeartbeat(load: number): void {
    const conn = this._conn;
    if (!conn?._open) throw new GotalkError("socket is closed", "unavailable");
    conn._send(binary.makeHeartbeatMsg(Math.round(Math.max(0, Math.min(1, load || 0)) * HeartbeatMsgMaxLoad)));
    conn._beatAt = Date.now();
  }

  /** Is called when the peer's version has come. */
  startSendingHeartbeats(): void {
    if (this.heartbeatInterval > 0 && this.heartbeatInterval < 10) throw new Error("Sock.heartbeatInterval is too low");
    this._scheduleBeat(1);
  }

  stopSendingHeartbeats(): void {
    clearTimeout(this._conn?._timer);
  }

  private _scheduleBeat(delay: number): void {
    const conn = this._conn;
    clearTimeout(conn?._timer);
    if (!conn?._open || !(this.heartbeatInterval >= 10)) return;
    conn._timer = setTimeout(() => {
      // Long overdue: the machine slept, or the page was frozen.
      if (Date.now() - conn._beatAt > this.heartbeatInterval + 30000) this._wake();
      else this._ping(Math.max(this.heartbeatInterval, aliveWait));
      this._scheduleBeat(this.heartbeatInterval);
    }, delay);
  }

  // Sends a heartbeat. A peer that said hello answers it; if nothing comes within ms, the connection is dead.
  private _ping(ms: number): void {
    const conn = this._conn;
    if (!conn?._open) return;
    this.sendHeartbeat(0);
    if (!conn._hello || conn._probe) return;
    const due = Date.now() + ms;
    conn._probe = setTimeout(() => {
      conn._probe = undefined;
      // When the timer is late the answer may be waiting behind it.
      if (Date.now() > due + 1000) this._ping(aliveWait);
      else this._drop(ErrTimeout);
    }, ms);
  }

  /** @internal Finds out whether the connection has survived a sleep or a change of network. */
  _wake(): void {
    const conn = this._conn;
    if (!conn?._open) return;
    clearTimeout(conn._probe);
    conn._probe = undefined;
    if (!conn._hello && this.heartbeatInterval && Date.now() - conn._beatAt > deadAfter) this._drop(ErrTimeout);
    else this._ping(aliveWait);
  }
}

Sock.prototype.requestp = Sock.prototype.request;
Sock.prototype.bufferRequestp = Sock.prototype.bufferRequest;
