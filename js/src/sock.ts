import { answer } from "./answers";
import { request, stream, type Extra, type Pending } from "./calls";
import { Conn } from "./conn";
import { resolve } from "./env";
import { call, GotalkError } from "./errors";
import { EventEmitter } from "./events";
import { hello, helloWait, maxSize, onExtension } from "./extensions";
import { checkName, decodeJSON, Handlers, reserved } from "./handlers";
import { schedule } from "./heartbeat";
import { KeepAlive } from "./keepalive";
import {
  binary, HeartbeatMsgMaxLoad, MsgTypeHeartbeat, MsgTypeNotification, MsgTypeProtocolError, MsgTypeSingleReq,
  MsgTypeStreamReq, MsgTypeStreamReqPart, pack, text, toBytes, type Body, type Header, type Protocol,
} from "./protocol";
import type { Stream } from "./stream";
import type {
  AnyOps, CallArgs, Callback, Data, GotalkStream, In, Name, NotifyArgs, Out, Payload, Received, RequestOptions, Sent,
  SockEvents, SockOptions, StreamOptions, StreamRequest, WebSocketClass,
} from "./types";

// From 1000 on.
const closeNames = [
  "normal", "going away", "protocol error", "unsupported", "", "no status", "abnormal", "inconsistent",
  "invalid message", "too large",
];

const notOpen = (message = "socket is closed") => new GotalkError(message, "unavailable");
const closed = (err?: Error | null) => notOpen(err?.message || "connection closed");

/** A message that waits. owner is what it belongs to, null for notifications; requests have an owner and a name. */
type Waiting = [
  owner: object | null, t: number, id: string | null, name?: string | null, body?: Body, wait?: number, extra?: Extra,
];

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
  /** How many messages may wait for a connection. Sending more fails with `socket is closed`. */
  sendBufferLimit = 100;
  noExtensions = false;
  WebSocket?: WebSocketClass;
  /** The current WebSocket. */
  ws: WebSocket | null = null;
  /** What keeps the connection open, after openKeepAlive. */
  keepalive: KeepAlive | null = null;

  /** @internal The current connection. What belongs to an earlier one compares different. */
  _conn?: Conn;
  /** @internal Our requests and streams, by id. */
  _pending = new Map<string, Pending>();
  /** @internal The requests and streams that the peer began and that are not over. */
  _served = new Map<string, Stream>();
  /** @internal Messages that wait for the connection to open, for the peer's hello, or for another connection. */
  _queue: Waiting[] = [];
  /** @internal */
  _nextOp = 0;
  /** @internal */
  _nextStream = 0;
  /** @internal end() was called and waits for pending results. */
  _ending = false;

  /** The third parameter is what the second of connection() and the third of open() default to. */
  constructor(handlers?: Handlers<any> | SockOptions<O> | null, proto?: Protocol | null, fallback = new Handlers()) {
    super();
    const options = handlers && "findRequestHandler" in handlers ? { handlers } : handlers;
    Object.assign(this, options, proto && { protocol: proto });
    this.handlers ||= fallback;
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
      if (!WS) throw Error("no WebSocket: pass one as option");
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
    const gone = ({ code, reason }: { code: number; reason?: string }) => {
      if (this._conn != conn) return;
      reason = closeNames[code - 1000] || reason;
      reason = "#" + code + (reason ? ` (${reason})` : "");
      if (conn._wasOpen) this._lost(conn._err || (code == 1000 ? null : Error("websocket closed: " + reason)));
      else this._lost(Error("connection failed: " + reason));
    };
    ws.onclose = gone;
    // Node 22 lets no onclose follow if the connection could not be made.
    ws.onerror = () => conn._wasOpen || gone({ code: 1006 });
    return conn;
  }

  /** Sends the version, what we can do beyond it, and what was queued. */
  handshake(): void {
    const conn = this._conn!;
    conn._text = this.protocol == text;
    conn._send(binary.versionBuf);
    conn._open = conn._wasOpen = true;
    if (this.noExtensions) conn._window = Infinity;
    else conn._write(MsgTypeNotification, null, "gotalk:hello", hello);
    setTimeout(() => this._learn(conn, conn._window), helloWait);
    this._drain();
  }

  /** @internal It is known what the peer can do, or that it will not say. */
  _learn(conn: Conn, window?: number): void {
    conn._window = window || Infinity;
    this._drain();
    for (const p of [...this._pending.values(), ...this._served.values()]) p._pump?.();
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
      if (this._ending) conn._close(1000);
      this._ending = true;
      this._drain();
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
    if (this._conn) {
      this._conn._close(1000);
      this._lost(err);
    }
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
    if (!conn._wasOpen) return call(conn._failed, closed(err));
    this._nextOp = 0;
    this._failAll(conn._err || closed(err));
    this.keepalive?._closed(err, conn._away);
    this.emit("close", err);
  }

  // Says whether a request has not been sent yet, or is to be sent again later.
  private _waits(owner: any): boolean {
    return owner._retry || this._queue.some((m) => m[0] == owner && m[3] != null);
  }

  // Requests that never left may do so over the next connection, if there is going to be one. Of the rest, somebody
  // is told here that it failed, and so nothing of it may be sent.
  private _failAll(err: Error): void {
    const again = (owner: object) => this.keepalive?.enabled && this._waits(owner);
    this._queue = this._queue.filter(([owner]) => !owner || again(owner));
    for (const p of [...this._pending.values(), ...this._served.values()]) again(p) || p._finish(err);
  }

  /** @internal Sends a message, or keeps it until it can be sent. Throws if too many wait. */
  _send(...m: Waiting): void {
    const conn = this._conn;
    // This is a little longer than what is sent.
    if (toBytes(JSON.stringify([m[6], 2 ** 32])).length > maxSize) {
      throw new GotalkError("meta too large", "resource_exhausted");
    }
    // Parts of streams are bounded by their windows, and results by the requests.
    if (m[3] != null && (!conn?._open || conn._away && m[0]) && this._queue.length >= this.sendBufferLimit) {
      throw notOpen();
    }
    this._queue.push(m);
    this._drain();
    if (this._queue.includes(m)) m[4] = m[4]?.slice() as Body; // the user may change it before it is sent
  }

  /** @internal Sends what may be sent, in order. Closes the connection if that is wanted and nothing is under way. */
  _drain(): void {
    const conn = this._conn;
    for (let i = 0; conn?._open && i < this._queue.length; ) {
      const [owner, t, id, name, body, wait, extra] = this._queue[i]!;
      if (extra && !conn._window) return; // what comes behind it waits with it
      // A peer holds few large requests of which not all has come.
      if (
        conn._away && owner && this._waits(owner) ||
        t == MsgTypeSingleReq && conn._leaving > 3 && body?.length! > 65536
      ) {
        i++;
        continue;
      }
      this._queue.splice(i, 1);
      conn._write(t, id, name, body, wait, extra, owner);
    }
    if (conn?._open && (
      this._ending && !this._pending.size && !conn._leaving ||
      conn._away && !this._served.size && ![...this._pending.values()].some((p) => !this._waits(p))
    )) conn._close(1000);
  }

  /** Sends a notification. Throws if it can neither be sent nor queued. */
  notify<K extends Name<O>>(name: K, ...args: NotifyArgs<O[K]>): void;
  notify(name: string, value?: any): void {
    this.bufferNotify(name, JSON.stringify(value));
  }

  bufferNotify(name: string, buf?: Payload): void {
    checkName(name);
    this._send(null, MsgTypeNotification, null, name, pack(buf));
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
    return request(this, op, value, arg, JSON.stringify, decodeJSON);
  }

  /** The same as request. */
  get requestp(): this["request"] {
    return this.request;
  }

  /** Calls an operation with a raw payload. Resolves to the raw result, undefined if empty. */
  bufferRequest(op: string, cb: Callback<Data>): Promise<void>;
  bufferRequest(op: string, buf: Payload, cb: Callback<Data>): Promise<void>;
  bufferRequest(op: string, buf?: Payload, options?: RequestOptions): Promise<Data>;
  bufferRequest(op: string, buf?: Payload | Callback<Data>, arg?: RequestOptions | Callback<Data>): Promise<any> {
    return request(this, op, buf, arg, (v) => v as Payload, (data) => data);
  }

  /** The same as bufferRequest. */
  get bufferRequestp(): this["bufferRequest"] {
    return this.bufferRequest;
  }

  /** Begins a stream request; nothing is sent before the first write. */
  streamRequest(op: string): StreamRequest {
    return stream(this, op);
  }

  /**
   * Begins a stream with an operation of the peer's, at once: send and end what it takes, and iterate what it gives.
   * Failures, those of making the stream included, are told by iterating and sending. Throws if the name cannot be
   * used, if meta is too large, and if the signal is aborted already.
   */
  stream<K extends Name<O>>(
    op: K, options: StreamOptions<Sent<O[K]>> & { json: true },
  ): GotalkStream<Sent<O[K]>, Received<O[K]>>;
  stream(op: string, options?: StreamOptions & { json?: false }): GotalkStream;
  stream(op: string, options: StreamOptions<any> = {}): GotalkStream<any, any> {
    return stream(this, op, options);
  }

  /** @internal A message has come, with its payload if that is not empty. */
  _onMsg(conn: Conn, { t, id = "", name = "", wait, size }: Header, data?: Data): void {
    if (t == MsgTypeSingleReq || t == MsgTypeStreamReq) answer(this, conn, t, id, name, data);
    // The stream may be refused or answered already, which its sender cannot know.
    else if (t == MsgTypeStreamReqPart) this._served.get(id)?._part(data);
    else if (t == MsgTypeNotification) {
      if (reserved(name)) onExtension(this, conn, name, data);
      else call(this.handlers.findNotificationHandler(name), data, name, { sock: this as Sock<any> });
    } else if (t == MsgTypeHeartbeat) {
      conn._answers = conn._peer as any;
      this.emit("heartbeat", { time: new Date(size * 1000), load: wait });
    } else if (t == MsgTypeProtocolError) conn._broken(size);
    else this._pending.get(id)?._result(t, data, wait); // a result of any kind
  }

  /** load is from 0 (idle) to 1 (takes no more work). */
  sendHeartbeat(load: number): void {
    const conn = this._conn;
    if (!conn?._open) throw notOpen();
    conn._send(binary.makeHeartbeatMsg(Math.round(Math.max(0, Math.min(1, load || 0)) * HeartbeatMsgMaxLoad)));
    conn._beatAt = Date.now();
  }

  /** Is called when the peer's version has come. */
  startSendingHeartbeats(): void {
    schedule(this, 1);
  }

  stopSendingHeartbeats(): void {
    clearTimeout(this._conn?._timer);
  }
}
