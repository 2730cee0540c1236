import { Conn, type Body } from "./conn";
import { resolve, warn } from "./env";
import { call, ErrInvalidMsg, ErrTimeout, GotalkError } from "./errors";
import { EventEmitter } from "./events";
import { checkName, decodeJSON, Handlers, isPromise, reserved, serve, type AnyOps, type Data, type In, type Name, type Out, type Payload }
  from "./handlers";
import { KeepAlive } from "./keepalive";
import {
  binary, MsgTypeErrorRes, HeartbeatMsgMaxLoad, MsgTypeHeartbeat, MsgTypeNotification, MsgTypeProtocolError, MsgTypeRetryRes,
  MsgTypeSingleReq, MsgTypeSingleRes, MsgTypeStreamReq, MsgTypeStreamReqPart, MsgTypeStreamRes, text, toBytes, toText,
  type Header, type Protocol,
} from "./protocol";
import { StreamRequest, type StreamResponse } from "./stream";

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
export type CallArgs<F> =
  undefined extends In<F> ? [value?: In<F>, options?: RequestOptions] : [value: In<F>, options?: RequestOptions];
export type NotifyArgs<F> = undefined extends In<F> ? [value?: In<F>] : [value: In<F>];

// What waits for a result: one request, or one stream.
interface Pending {
  _result(t: number, payload: Data, wait: number): void;
  _finish(err: Error | null): void;
}

// From 1000 on.
const closeNames =
  "normal,going away,protocol error,unsupported,,no status,abnormal,inconsistent,invalid message,too large".split(",");

const maxWait = 60000; // for a retry, whatever the peer asks for
const aliveWait = 5000; // for a sign of life after a sleep
const deadAfter = 90000; // silence that connections to peers that do not answer heartbeats cannot have survived

const base36 = (n: number, digits: number) => n.toString(36).padStart(digits, "0");

/** Undefined for an empty payload. Throws a TypeError for what is neither a string nor a BufferSource. */
function pack(v: Payload): Body {
  const b = typeof v == "string" ? v : toBytes(v ?? "");
  return b.length ? b : undefined;
}

const closed = () => new GotalkError("connection closed", "unavailable");
const notOpen = () => new GotalkError("socket is closed", "unavailable");

type Timer = ReturnType<typeof setTimeout> | undefined;

/**
 * A peer at the other end of a WebSocket. O describes the operations that it offers, by an interface of functions.
 * All methods may be called at any time; what is sent before the connection is open waits in a queue.
 */
export class Sock<O extends object = AnyOps> extends EventEmitter<SockEvents<Sock<O>>> {
  declare readonly handlers: Handlers<any>;
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
  private _queue: [id: string | null, header: Uint8Array<ArrayBuffer>, body?: Body][] = [];
  private _nextOp = 0;
  private _nextStream = 0;
  // end() was called and waits for pending results.
  private _ending = false;

  /** The third parameter is what the second of connection() and the third of open() default to. */
  constructor(handlers?: Handlers<any> | SockOptions<O> | null, proto?: Protocol | null, fallback = new Handlers()) {
    super();
    const options = handlers && "findRequestHandler" in handlers ? { handlers } : handlers;
    Object.assign(this, { handlers: fallback }, options, proto && { protocol: proto });
  }

  /** Connects to addr, or to the default address. cb is called once, with null or with why that failed. */
  open(addr?: string | null | Callback<this>, cb?: Callback<this> | null): this {
    if (typeof addr == "function") {
      cb = addr;
      addr = null;
    }
    const url = resolve(addr);
    this._drop(null); // an earlier connection, if there is one
    let ws: WebSocket;
    try {
      const WS = this.WebSocket || globalThis.WebSocket;
      if (!WS) throw new Error("no WebSocket: pass one as option");
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
      call(cb, null, this);
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
    if (ws.readyState != 1) throw notOpen();
    this._drop(null);
    this._attach(ws);
  }

  adopt(ws: WebSocket): void {
    this.adoptWebSocket(ws);
  }

  private _attach(ws: WebSocket): Conn {
    const conn = new Conn(ws, this);
    this.ws = ws;
    this._conn = conn;
    // A WebSocket that was replaced goes on calling these, to no effect.
    ws.onmessage = (ev) => {
      conn._alive();
      conn._receive(ev.data);
    };
    ws.onerror = () => {}; // onclose follows
    ws.onclose = (ev) => {
      if (this._conn != conn) return;
      const name = closeNames[ev.code - 1000];
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
    if (!this.noExtensions) this._send(MsgTypeNotification, null, "gotalk:hello", '{"join":1}');
    for (const [, header, body] of this._queue) conn._send(header, body);
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
    conn._alive();
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
    this._queue = this._queue.filter((m) => !m[0]);
    this._pending = new Map();
    this._served = new Map();
    for (const p of all) p._finish(err);
  }

  private _send(t: number, id: string | null, name?: string | null, body?: Body): void {
    const header = binary.makeMsg(t, id, name, 0, body ? toBytes(body).length : 0);
    if (this._conn?._open) return this._conn._send(header, body);
    if (this._queue.length >= this.sendBufferLimit) throw notOpen();
    // The user may change the payload before it is sent.
    this._queue.push([id, header, body?.slice() as Body]);
  }

  /** Sends a notification. Throws if it can neither be sent nor queued. */
  notify<K extends Name<O>>(name: K, ...args: NotifyArgs<O[K]>): void;
  notify(name: string, value?: any): void {
    this.bufferNotify(name, JSON.stringify(value));
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
  request<K extends Name<O>>(op: K, ...args: CallArgs<O[K]>): Promise<Out<O[K]>>;
  request(op: string, value?: any, arg?: any): Promise<any> {
    return this._request(op, value, arg, JSON.stringify, decodeJSON);
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
    let { signal, timeout, retries = 3 } = (arg || {}) as RequestOptions;
    const promise = new Promise<T>((resolve, reject) => {
      checkName(op);
      signal?.throwIfAborted();
      const body = pack(encode(value));
      let id = this._newID();
      let retry: Timer, deadline: Timer;
      const send = () => {
        try {
          this._send(MsgTypeSingleReq, id, op, body);
        } catch (err) {
          finish(err);
        }
      };
      const abort = () => finish(signal!.reason);
      const finish = (err: unknown, data?: Data) => {
        clearTimeout(retry);
        clearTimeout(deadline);
        signal?.removeEventListener("abort", abort);
        this._forget(id, pending);
        if (err !== undefined) reject(err);
        else resolve(data as never);
      };
      const pending: Pending = {
        _finish: finish,
        _result: (t, data, wait) => {
          if (t == MsgTypeErrorRes) finish(new GotalkError(toText(data)));
          else if (t != MsgTypeRetryRes) finish(undefined, data);
          else if (retries-- > 0) {
            // Under a new id, which is pending already during the wait.
            this._pending.delete(id);
            this._pending.set((id = this._newID()), pending);
            retry = setTimeout(send, Math.min(wait, maxWait));
          } else finish(new GotalkError(toText(data), "resource_exhausted"));
        },
      };
      this._pending.set(id, pending);
      signal?.addEventListener("abort", abort);
      if (timeout) {
        const err = new GotalkError(`request timed out after ${timeout} ms`, "deadline_exceeded");
        deadline = setTimeout(finish, timeout, err);
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
    this._queue = this._queue.filter((m) => m[0] != id);
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
    let ended = false;
    const stream = Object.assign(new StreamRequest(op, id, (v) => {
      const body = pack(v);
      if (ended || this._pending.get(id) != stream) return;
      if (!begun) this._send(MsgTypeStreamReq, id, op, body);
      // An empty first part does not end a stream, so the end follows it.
      if (begun || !body) this._send(MsgTypeStreamReqPart, id, null, body);
      begun = true;
      ended = !body;
    }), {
      _result: (t: number, data: Data) => {
        const failed = t == MsgTypeErrorRes || t == MsgTypeRetryRes;
        if (data && !failed) stream.emit("data", data);
        if (t == MsgTypeStreamRes && data) return;
        this._forget(id, stream);
        stream._finish(failed ? new GotalkError(toText(data)) : null);
      },
    });
    this._pending.set(id, stream);
    return stream;
  }

  /** @internal A message has come, with its payload if that is not empty. */
  _onMsg(conn: Conn, { t, id = "", name = "", wait, size }: Header, data?: Data): void {
    switch (t) {
      case MsgTypeSingleReq:
      case MsgTypeStreamReq:
        this._serve(conn, t, id, name, data);
        break;
      case MsgTypeStreamReqPart: {
        // The stream may be refused or answered already, which its sender cannot know.
        const stream = this._served.get(id);
        if (data) stream?.emit("data", data);
        else stream?._finish(null);
        break;
      }
      case MsgTypeNotification:
        if (name == "gotalk:hello") {
          const hello = Object(JSON.parse(toText(data)));
          if (this.noExtensions) return;
          conn._hello = true;
          conn._join = !!hello.join;
        } else if (!reserved(name)) {
          call(this.handlers.findNotificationHandler(name), data, name);
        }
        break;
      case MsgTypeHeartbeat:
        conn._answers = conn._hello;
        this.emit("heartbeat", { time: new Date(size * 1000), load: wait });
        break;
      case MsgTypeProtocolError:
        conn._broken(size);
        break;
      default: // a result of any kind
        this._pending.get(id)?._result(t, data, wait);
    }
  }

  // Has a request answered: once, and only over the connection that it came from.
  private _serve(conn: Conn, t: number, id: string, op: string, data: Data): void {
    if (this._served.has(id)) throw ErrInvalidMsg;
    let done = false;
    const send = (t: number, v: Payload): void => {
      const body = pack(v);
      if (done || this._conn != conn) return;
      if (conn._open) this._send(t, id, null, body);
      done = t != MsgTypeStreamRes || !body;
      if (done) this._served.delete(id);
    };
    const error = (err: any): void => send(MsgTypeErrorRes, err?.message ?? String(err));
    const handlers = this.handlers;
    try {
      const handler: any =
        !reserved(op) && (t == MsgTypeSingleReq ? handlers.findRequestHandler(op) : handlers.findStreamRequestHandler?.(op));
      if (!handler) return error(`no such operation "${op}"`);
      if (t == MsgTypeSingleReq) {
        serve<Data, Payload>(handler, data, Object.assign((v?: Payload) => send(MsgTypeSingleRes, v), { error }), op);
      } else {
        const stream = Object.assign(new StreamRequest(op, id, (v) => send(MsgTypeStreamRes, v)), { error });
        this._served.set(id, stream);
        const r = handler(stream, op);
        if (isPromise(r)) r.then(() => stream.end(), error);
        if (data) stream.emit("data", data);
      }
    } catch (err) {
      warn("error in handler", err);
      // A peer is told nothing of an exception, unless that was made to be told.
      error(err instanceof GotalkError ? err : "internal error");
    }
  }

  /** load is from 0 (idle) to 1 (takes no more work). */
  sendHeartbeat(load: number): void {
    const conn = this._conn;
    if (!conn?._open) throw notOpen();
    conn._send(binary.makeHeartbeatMsg(Math.round(Math.max(0, Math.min(1, load || 0)) * HeartbeatMsgMaxLoad)));
    conn._beatAt = Date.now();
  }

  /** Is called when the peer's version has come. */
  startSendingHeartbeats(delay = 1): void {
    const conn = this._conn;
    const interval = this.heartbeatInterval;
    this.stopSendingHeartbeats();
    if (interval > 0 && interval < 10) throw new Error("Sock.heartbeatInterval is too low");
    if (!conn || !interval) return;
    conn._timer = setTimeout(() => {
      // A timer that is long overdue: the machine slept, or the page was frozen.
      this._ping(Date.now() - conn._beatAt > interval + 30000);
      this.startSendingHeartbeats(this.heartbeatInterval);
    }, delay);
  }

  stopSendingHeartbeats(): void {
    clearTimeout(this._conn?._timer);
  }

  /**
   * Sends a heartbeat. A peer of ours answers it; if nothing comes in time, the connection is dead. It may
   * well be after a sleep, or a change of network.
   * @internal
   */
  _ping(woken: boolean): void {
    const conn = this._conn;
    if (!conn?._open) return;
    if (woken) {
      conn._alive();
      if (!conn._answers && this.heartbeatInterval && Date.now() - conn._beatAt > deadAfter) return this._drop(ErrTimeout);
    }
    this.sendHeartbeat(0);
    if (!conn._answers || conn._probe) return;
    const wait = woken ? aliveWait : Math.max(this.heartbeatInterval, aliveWait);
    const due = Date.now() + wait;
    conn._probe = setTimeout(() => {
      conn._probe = undefined;
      // When the timer is late the answer may be waiting behind it.
      if (Date.now() > due + 1000) this._ping(true);
      else this._drop(ErrTimeout);
    }, wait);
  }
}

Sock.prototype.requestp = Sock.prototype.request;
Sock.prototype.bufferRequestp = Sock.prototype.bufferRequest;
