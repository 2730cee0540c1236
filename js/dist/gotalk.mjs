// src/env.ts
var env = {
  developmentMode: false,
  /** Where open() and connection() go without an address. Empty when unknown. */
  defaultResponderAddress: ""
};

// src/address.ts
var base;
function parseURL(s) {
  try {
    const u = new URL(s);
    return u.host ? u : void 0;
  } catch {
  }
}
var origin = (u) => (u.protocol == "https:" ? "wss://" : "ws://") + u.host;
function setScript(src) {
  base = parseURL(src);
  if (!base) return;
  env.defaultResponderAddress = origin(base) + base.pathname.replace(/[^/]*$/, "");
  env.developmentMode = /^(localhost|127\.0\.0\.1|\[::1\])$|\.local(host)?$/.test(base.hostname);
}
function resolve(addr) {
  addr ||= env.defaultResponderAddress;
  if (!addr) throw new Error("address not specified");
  if (/^(ws|http)s?:\//i.test(addr)) return addr.replace(/^http/i, "ws");
  const from = base || parseURL(globalThis.location?.href);
  if (!from) return addr;
  if (addr.startsWith("//")) return origin(from).replace(/\/\/.*/, addr);
  return origin(from) + (addr.startsWith("/") ? "" : "/") + addr;
}

// src/errors.ts
var GotalkError = class extends Error {
  code;
  /** `code` is "unknown" unless given. */
  constructor(message2, code = "unknown", options) {
    super(message2, options);
    this.code = code;
  }
};
var errors = ["abnormal condition", "unsupported protocol", "invalid protocol message", "timeout"].map(
  (message2, code) => Object.assign(new Error(message2), { isGotalkProtocolError: true, code })
);
var [ErrAbnormal, ErrUnsupported, ErrInvalidMsg, ErrTimeout] = errors;
var protocolError = (code) => errors[code] || ErrInvalidMsg;
function call(fn, ...args) {
  try {
    fn?.(...args);
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}

// src/events.ts
var EventEmitter = class {
  // The lists are replaced, never changed, so one can be walked while its listeners come and go.
  _lists = /* @__PURE__ */ new Map();
  /** Has fn called each time. Throws a TypeError if fn is not a function. */
  on(type, fn) {
    return this._add(type, fn);
  }
  addListener(type, fn) {
    return this._add(type, fn);
  }
  /** Has fn called the next time only. */
  once(type, fn) {
    return this._add(type, fn, true);
  }
  _add(type, fn, once) {
    if (typeof fn != "function") throw new TypeError("listener is not a function");
    this._lists.set(type, [...this._lists.get(type) || [], { _fn: fn, _once: once }]);
    return this;
  }
  /** Takes fn away, once if it was added several times. */
  removeListener(type, fn) {
    const list = this._lists.get(type) || [];
    const i = list.findIndex((l) => l._fn == fn);
    this._lists.set(type, list.filter((_, j) => j != i));
    return this;
  }
  off(type, fn) {
    return this.removeListener(type, fn);
  }
  /** Takes all listeners away, of one event or of all. */
  removeAllListeners(type) {
    if (type === void 0) this._lists.clear();
    else this._lists.delete(type);
    return this;
  }
  listeners(type) {
    return (this._lists.get(type) || []).map((l) => l._fn);
  }
  /** Calls the listeners in the order in which they were added, and says whether there were any. */
  emit(type, ...args) {
    const list = this._lists.get(type) || [];
    for (const l of list) {
      if (l._once) this.removeListener(type, l._fn);
      call(l._fn.bind(this), ...args);
    }
    return list.length > 0;
  }
};

// src/protocol.ts
var MsgTypeSingleReq = 114;
var MsgTypeStreamReq = 115;
var MsgTypeStreamReqPart = 112;
var MsgTypeSingleRes = 82;
var MsgTypeStreamRes = 83;
var MsgTypeErrorRes = 69;
var MsgTypeRetryRes = 101;
var MsgTypeNotification = 110;
var MsgTypeHeartbeat = 104;
var MsgTypeProtocolError = 102;
var HeartbeatMsgMaxLoad = 65535;
var Version = 1;
var encoder = new TextEncoder();
var decoder = new TextDecoder("utf-8", { ignoreBOM: true });
var utf8 = (s) => encoder.encode(s);
var toText = (b) => typeof b == "string" ? b : b ? decoder.decode(b) : "";
function toBytes(v) {
  if (ArrayBuffer.isView(v)) return new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
  if (v?.byteLength >= 0) return new Uint8Array(v);
  throw new TypeError("payload is neither a string nor a BufferSource");
}
function concat(parts, size) {
  const all = new Uint8Array(size);
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}
function fixnum(n, digits) {
  const s = n.toString(16);
  if (!(n >= 0) || n % 1 || s.length > digits) throw new RangeError(n + " does not fit into " + digits + " hex digits");
  return s.padStart(digits, "0");
}
function makeMsg(t, id, name, wait = 0, size = 0) {
  return String.fromCharCode(t) + (id || "") + (name == null ? "" : fixnum(utf8(name).length, 3) + name) + (t == MsgTypeRetryRes ? fixnum(wait, 8) : "") + fixnum(size, 8);
}
function makeHeartbeatMsg(load) {
  return "h" + fixnum(load, 4) + fixnum(Math.floor(Date.now() / 1e3), 8);
}
function parse(b, at = 0) {
  let p = at + 1;
  const take = (n) => String.fromCharCode(...b.subarray(p, p += n));
  const number = (digits) => {
    const s = take(digits);
    if (/[^\da-f]/i.test(s)) throw new Error("invalid hexint " + s);
    return parseInt(s, 16);
  };
  const h = { t: b[at], wait: 0, size: 0 };
  const type = String.fromCharCode(h.t);
  if (!"nhf".includes(type)) h.id = take(4);
  if ("rsn".includes(type)) {
    const n = number(3);
    h.name = toText(b.subarray(p, p += n));
  }
  if (type == "e") h.wait = number(8);
  if (type == "h") h.wait = number(4);
  h.size = number(8);
  return p <= b.length ? { ...h, _end: p } : void 0;
}
function parseMsg(b) {
  const h = parse(b);
  if (!h) throw new Error("incomplete message");
  return { t: h.t, id: h.id, name: h.name, wait: h.wait, size: h.size };
}
function parseVersion(s) {
  if (!/^[\da-f]{2}$/i.test(s)) throw new Error("invalid hexint " + s);
  return parseInt(s, 16);
}
var versionText = fixnum(Version, 2);
var binary = {
  versionBuf: utf8(versionText),
  makeFixnum: (n, digits) => utf8(fixnum(n, digits)),
  parseVersion: (b) => parseVersion(toText(toBytes(b))),
  parseMsg: (b) => parseMsg(toBytes(b)),
  /** Throws a RangeError if the name has more than 4095 bytes, or a number does not fit. */
  makeMsg(t, id, name, wait, size) {
    const b = utf8(makeMsg(t, id && "    ", name, wait, size));
    for (let i = 0; id && i < 4; i++) b[i + 1] = id.charCodeAt(i);
    return b;
  },
  makeHeartbeatMsg: (load) => utf8(makeHeartbeatMsg(load))
};
var text = {
  versionBuf: versionText,
  makeFixnum: fixnum,
  parseVersion,
  parseMsg: (s) => parseMsg(utf8(s)),
  makeMsg,
  makeHeartbeatMsg
};
var protocol = {
  Version,
  MsgTypeSingleReq,
  MsgTypeStreamReq,
  MsgTypeStreamReqPart,
  MsgTypeSingleRes,
  MsgTypeStreamRes,
  MsgTypeErrorRes,
  MsgTypeRetryRes,
  MsgTypeNotification,
  MsgTypeHeartbeat,
  MsgTypeProtocolError,
  ErrorAbnormal: 0,
  ErrorUnsupported: 1,
  ErrorInvalidMsg: 2,
  ErrorTimeout: 3,
  HeartbeatMsgMaxLoad,
  binary,
  text
};

// src/handlers.ts
var reserved = (name) => name.startsWith("gotalk:");
function parseJSON(data) {
  try {
    return data?.length ? JSON.parse(toText(data)) : null;
  } catch (err) {
    if (env.developmentMode) console.warn("gotalk: invalid JSON payload:", err);
  }
}
function serve(fn, value, result, op) {
  const r = fn(value, result, op);
  const n = fn.length;
  if (typeof r?.then == "function") {
    Promise.resolve(r).then((v) => {
      if (n < 2 || v !== void 0) result(v);
    }).catch((err) => result.error(err));
  } else if (r === void 0 ? n == 1 : n < 2) {
    result(r);
  }
}
function set(map, name, fn, registered = fn) {
  if (reserved(name)) throw new Error('names that begin with "gotalk:" are reserved: ' + name);
  if (fn) map.set(name, registered);
  else map.delete(name);
}
var Handlers = class {
  _requests = /* @__PURE__ */ new Map();
  _notifications = /* @__PURE__ */ new Map();
  _streams = /* @__PURE__ */ new Map();
  /** Values are JSON both ways. */
  handleRequest(op, fn) {
    set(this._requests, op, fn && ((data, result, op2) => serve(fn, parseJSON(data), Object.assign((v) => result(JSON.stringify(v)), { error: result.error }), op2)));
  }
  handleBufferRequest(op, fn) {
    set(this._requests, op, fn);
  }
  /** The value is JSON. */
  handleNotification(name, fn) {
    set(this._notifications, name, fn && ((data, name2) => fn(parseJSON(data), name2)));
  }
  handleBufferNotification(name, fn) {
    set(this._notifications, name, fn);
  }
  /** Answers stream requests. If fn returns a promise, the stream ends, or fails, with it. */
  handleStreamRequest(op, fn) {
    set(this._streams, op, fn);
  }
  findRequestHandler(op) {
    return this._requests.get(op) || this._requests.get("");
  }
  findNotificationHandler(name) {
    return this._notifications.get(name) || this._notifications.get("");
  }
  findStreamRequestHandler(op) {
    return this._streams.get(op) || this._streams.get("");
  }
};

// src/conn.ts
var maxBatch = 65536;
var Conn = class {
  constructor(_ws, _onVersion, _onMsg) {
    this._ws = _ws;
    this._onVersion = _onVersion;
    this._onMsg = _onMsg;
    _ws.binaryType = "arraybuffer";
  }
  _ws;
  _onVersion;
  _onMsg;
  /** The version was sent and no close is under way. */
  _open = false;
  /** It was open at some time. */
  _wasOpen = false;
  /** Messages are handed on, not only kept. */
  _reading = false;
  /** Headers are sent in text messages. */
  _text = false;
  /** Why the connection is being closed, if a peer broke the protocol. Nothing is read any more. */
  _err;
  /** What the peer said in its hello. */
  _hello;
  /** The peer takes several messages in one WebSocket message. */
  _join;
  /** Runs while a sign of life is awaited. */
  _probe;
  _timer;
  /** When the last heartbeat was sent. */
  _beatAt = Date.now();
  /** Tells open() that the connection could not be made. */
  _failed;
  // Incoming messages that were not parsed yet, and what was parsed of the byte stream that they make.
  _in = [];
  _busy = false;
  _version = false;
  _head;
  _rest = [];
  _size = 0;
  _batch = [];
  _batched = 0;
  /** Sends a message: at once as one WebSocket message for the header and one for the payload, or joined with others. */
  _send(header, body) {
    if (this._join && !this._text) {
      this._push(header);
      if (body) this._push(body._bytes);
    } else {
      const s = this._text && toText(header);
      this._ws.send(s && !s.includes("�") ? s : header);
      if (body) this._ws.send(body._data);
    }
  }
  _push(b) {
    if (b.length > maxBatch) {
      this._flush();
      this._ws.send(b);
      return;
    }
    if (!this._batched) queueMicrotask(() => this._flush());
    this._batch.push(b.slice());
    this._batched += b.length;
    if (this._batched >= maxBatch) this._flush();
  }
  _flush() {
    const all = concat(this._batch, this._batched);
    this._batch = [];
    this._batched = 0;
    if (all.length && this._ws.readyState == 1) this._ws.send(all);
  }
  _close(code) {
    this._flush();
    this._open = false;
    this._ws.close(code);
  }
  /** Tells the peer that it, or we, broke the protocol, and closes. */
  _closeError(code) {
    this._send(binary.makeMsg(MsgTypeProtocolError, null, null, 0, code));
    this._broken(code);
  }
  /** Closes for a protocol error that both sides know of. */
  _broken(code) {
    this._err = protocolError(code);
    this._close(4e3 + (code < 1e3 ? code : ErrInvalidMsg.code));
  }
  _receive(data) {
    this._in.push(data);
    this._pump();
  }
  /** Takes what was received. A call from within, by a WebSocket that answers at once, leaves it to the one at work. */
  _pump() {
    if (this._busy) return;
    this._busy = true;
    try {
      while (this._in.length && this._reading && !this._err) this._feed(this._in.shift());
    } catch {
      this._closeError(ErrInvalidMsg.code);
    }
    this._busy = false;
  }
  /** Takes the next piece of the byte stream. Throws if it makes no sense. */
  _feed(data) {
    const b = typeof data == "string" ? utf8(data) : toBytes(data);
    let h = this._head;
    if (h && !this._size && b.length == h.size) {
      this._head = void 0;
      this._onMsg(h, typeof data == "string" ? data : b);
      return;
    }
    this._rest.push(b);
    this._size += b.length;
    if (h && this._size < h.size) return;
    const all = this._rest.length > 1 ? concat(this._rest, this._size) : b;
    let at = 0;
    while (this._reading && !this._err) {
      h = this._head;
      if (!this._version) {
        if (all.length < 2) break;
        at = 2;
        if (toText(all.subarray(0, at)) != versionText) return this._closeError(ErrUnsupported.code);
        this._version = true;
        this._onVersion();
      } else if (h) {
        if (all.length - at < h.size) break;
        this._head = void 0;
        this._onMsg(h, all.slice(at, at += h.size));
      } else {
        const next = at < all.length && parse(all, at);
        if (!next) break;
        at = next._end;
        if (next.size && next.t != MsgTypeHeartbeat && next.t != MsgTypeProtocolError) this._head = next;
        else this._onMsg(next);
      }
    }
    this._rest = at < all.length ? [all.subarray(at)] : [];
    this._size = all.length - at;
  }
};

// src/keepalive.ts
var events = ["online", "pageshow", "pagehide", "visibilitychange"];
var KeepAlive = class {
  /** @internal */
  constructor(_sock, _addr) {
    this._sock = _sock;
    this._addr = _addr;
  }
  _sock;
  _addr;
  enabled = false;
  /** Milliseconds that a connection must last before the delays begin anew. */
  minUptime = 5e3;
  /** The bound of the first delay, in milliseconds. It doubles with each failure up to maxDelay. */
  minDelay = 500;
  maxDelay = 5e3;
  _failures = 0;
  _openedAt = 0;
  _timer;
  get isConnected() {
    return !!this._sock._conn?._open;
  }
  /** Connects unless connected, and keeps it so. */
  enable() {
    if (this.enabled) return;
    this.enabled = true;
    for (const type of events) globalThis.addEventListener?.(type, this);
    this._connect();
  }
  /** Lets things take their course; does not close the connection. */
  disable() {
    this.enabled = false;
    for (const type of events) globalThis.removeEventListener?.(type, this);
    clearTimeout(this._timer);
  }
  _connect() {
    clearTimeout(this._timer);
    if (this._sock._conn) return;
    this._sock.open(this._addr, (err) => {
      this._openedAt = Date.now();
      if (err) this._again(err);
    });
  }
  /** @internal The connection is gone: null after an orderly close. */
  _closed(err) {
    if (Date.now() - this._openedAt >= this.minUptime) this._failures = 0;
    this._again(err);
  }
  _again(err) {
    if (!this.enabled) return;
    const bound = Math.min(this.maxDelay, this.minDelay * 2 ** this._failures);
    let delay = Math.random() * bound;
    if (!err) delay = Math.max(100, delay);
    if (err == ErrTimeout) {
      if (!this._failures) delay = 0;
    } else if (err?.isGotalkProtocolError) {
      delay = this.maxDelay * (1 + Math.random());
    }
    this._failures++;
    if (globalThis.navigator?.onLine === false && !/\/\/(localhost|127\.|\[::1\])/.test(resolve(this._addr))) delay = 6e4;
    this._timer = setTimeout(() => this._connect(), delay);
  }
  /** @internal For the browser, which calls it with the events above. */
  handleEvent(ev) {
    if (ev.type == "pagehide") {
      this._sock._drop(null);
      clearTimeout(this._timer);
    } else if (ev.persisted !== false && !globalThis.document?.hidden) {
      if (this._sock._conn) this._sock._wake();
      else this._connect();
    }
  }
};

// src/stream.ts
var Stream = class extends EventEmitter {
  /** @internal */
  constructor(op, id, _write) {
    super();
    this.op = op;
    this.id = id;
    this._write = _write;
  }
  op;
  id;
  _write;
  /** @internal Nothing more is sent. */
  _done = false;
  _ended = false;
  /** Sends a chunk; an empty one, or none, ends this direction of the stream. Afterwards nothing is sent any more. */
  write(buf) {
    if (!this._done && !this._write(buf)) this._done = true;
  }
  /** Ends this direction of the stream. */
  end() {
    this.write();
  }
  /** @internal */
  _finish(err) {
    if (this._ended) return;
    this._ended = true;
    this.emit("end", err);
  }
};
var StreamRequest = class extends Stream {
  /** @internal */
  _finish(err) {
    this._done = true;
    super._finish(err);
  }
};
var StreamResponse = class extends Stream {
  /** @internal */
  constructor(op, id, write, _refuse) {
    super(op, id, write);
    this._refuse = _refuse;
  }
  _refuse;
  /** Fails the request: the requestor gets err.message, or err as a string. */
  error(err) {
    if (!this._done) this._refuse(err);
    this._done = true;
  }
  /** @internal */
  _fail(err) {
    this._done = true;
    this._finish(err);
  }
};

// src/sock.ts
var closeNames = {
  1e3: "normal",
  1001: "going away",
  1002: "protocol error",
  1003: "unsupported",
  1005: "no status",
  1006: "abnormal",
  1007: "inconsistent",
  1008: "invalid message",
  1009: "too large"
};
var maxWait = 6e4;
var aliveWait = 5e3;
var deadAfter = 9e4;
var base36 = (n, digits) => n.toString(36).padStart(digits, "0");
var message = (err) => err?.message ?? String(err);
function pack(v) {
  if (v == null) return;
  const b = typeof v == "string" ? utf8(v) : toBytes(v);
  return b.length ? { _data: typeof v == "string" ? v : b, _bytes: b } : void 0;
}
var closed = () => new GotalkError("connection closed", "unavailable");
var noSuchOperation = (op) => `no such operation "${op}"`;
function checkName(name) {
  if (reserved(name)) throw new GotalkError('names that begin with "gotalk:" are reserved: ' + name, "invalid_argument");
  if (utf8(name).length > 4095) throw new GotalkError("name is longer than 4095 bytes", "invalid_argument");
}
function internal(err) {
  if (env.developmentMode) console.error("gotalk: error in handler:", err);
  return err instanceof GotalkError ? err : "internal error";
}
var Sock = class extends EventEmitter {
  handlers;
  /** Change it before connecting. */
  protocol = binary;
  /** Milliseconds between heartbeats; 0 for none. A value below 10 is an error. */
  heartbeatInterval = 2e4;
  /** How many messages may wait for the connection to open. Sending more fails with `socket is closed`. */
  sendBufferLimit = 100;
  noExtensions = false;
  WebSocket;
  /** The current WebSocket. */
  ws = null;
  /** What keeps the connection open, after openKeepAlive. */
  keepalive = null;
  /** @internal The current connection. What belongs to an earlier one compares different. */
  _conn;
  _pending = /* @__PURE__ */ new Map();
  _served = /* @__PURE__ */ new Map();
  _queue = [];
  _nextOp = 0;
  _nextStream = 0;
  // end() was called and waits for pending results.
  _ending = false;
  constructor(handlers, proto) {
    super();
    const options = handlers && !("findRequestHandler" in handlers) ? handlers : { handlers };
    this.handlers = options.handlers || new Handlers();
    const { handlers: _, ...rest } = { ...options, ...proto && { protocol: proto } };
    Object.assign(this, rest);
  }
  /** Connects to addr, or to the default address. cb is called once, with null or with why that failed. */
  open(addr, cb) {
    if (typeof addr == "function") {
      cb = addr;
      addr = null;
    }
    const url = resolve(addr);
    this._drop(null);
    let ws;
    try {
      const WS = this.WebSocket || globalThis.WebSocket;
      if (!WS) throw new Error("there is no WebSocket here: set the option WebSocket to a class like that of the package ws");
      ws = new WS(url);
    } catch (err) {
      call(cb, err);
      this.emit("close", err);
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
  openKeepAlive(addr) {
    this.keepalive?.disable();
    this.keepalive = new KeepAlive(this, addr);
    this.keepalive.enable();
    return this;
  }
  /**
   * Takes over a WebSocket that is open; handshake and startReading are to be called next. What it receives before
   * is kept.
   */
  adoptWebSocket(ws) {
    if (ws.readyState != 1) throw new Error("the WebSocket is not open");
    this._drop(null);
    this._attach(ws);
  }
  adopt(ws) {
    this.adoptWebSocket(ws);
  }
  _attach(ws) {
    const conn = new Conn(ws, () => call(() => this.startSendingHeartbeats()), (h, payload) => this._onMsg(conn, h, payload));
    this.ws = ws;
    this._conn = conn;
    ws.onmessage = (ev) => {
      clearTimeout(conn._probe);
      conn._probe = void 0;
      conn._receive(ev.data);
    };
    ws.onerror = () => {
    };
    ws.onclose = (ev) => {
      if (this._conn != conn) return;
      const name = closeNames[ev.code];
      const reason = `#${ev.code}${name ? ` (${name})` : ""}`;
      if (conn._wasOpen) this._lost(conn._err || (ev.code == 1e3 ? null : new Error("websocket closed: " + reason)));
      else this._lost(new Error("connection failed: " + reason));
    };
    return conn;
  }
  /** Sends the version, what we can do beyond it, and what was queued. */
  handshake() {
    const conn = this._conn;
    conn._text = this.protocol == text;
    conn._send(binary.versionBuf);
    conn._open = conn._wasOpen = true;
    if (!this.noExtensions) this._send(MsgTypeNotification, null, "gotalk:hello", pack('{"join":1}'));
    for (const m of this._queue) conn._send(m._header, m._body);
    this._queue = [];
  }
  startReading() {
    this._conn._reading = true;
    this._conn._pump();
  }
  /**
   * Stops keeping the connection open and closes it: when the results of pending requests have come, or at once if
   * there are none or on a second call. Requests that were still queued fail.
   */
  end() {
    this.keepalive?.disable();
    const conn = this._conn;
    if (conn?._open) {
      if (this._pending.size && !this._ending) this._ending = true;
      else conn._close(1e3);
    } else if (!conn?._wasOpen) {
      this._drop(null);
      this._failAll(closed());
    }
  }
  /** Tells the peer of a protocol error, and closes the connection. */
  closeError(code) {
    if (this._conn?._open) this._conn._closeError(code);
  }
  /** The URL of the current connection. */
  address() {
    return this.ws && this.ws.url;
  }
  /** @internal Gives the current connection up, without waiting for the peer. */
  _drop(err) {
    const conn = this._conn;
    if (!conn) return;
    conn._close(1e3);
    this._lost(err);
  }
  // The connection is gone, or could not be made.
  _lost(err) {
    const conn = this._conn;
    conn._open = conn._reading = false;
    clearTimeout(conn._timer);
    clearTimeout(conn._probe);
    this._conn = void 0;
    this.ws = null;
    this._ending = false;
    if (!conn._wasOpen) return call(conn._failed, err || closed());
    this._nextOp = 0;
    this._failAll(err || closed());
    this.keepalive?._closed(err);
    this.emit("close", err);
  }
  // Only notifications stay in the queue: of the rest, somebody has just been told that it failed.
  _failAll(err) {
    const all = [...this._pending.values(), ...this._served.values()];
    this._queue = this._queue.filter((m) => !m._id);
    this._pending = /* @__PURE__ */ new Map();
    this._served = /* @__PURE__ */ new Map();
    for (const p of all) p._fail(err);
  }
  _send(t, id, name, body) {
    const header = binary.makeMsg(t, id, name, 0, body?._bytes.length);
    if (this._conn?._open) return this._conn._send(header, body);
    if (this._queue.length >= this.sendBufferLimit) throw new GotalkError("socket is closed", "unavailable");
    if (body) body = { ...body, _data: body._data.slice() };
    this._queue.push({ _id: id, _header: header, _body: body });
  }
  /** Sends a notification. Throws if it can neither be sent nor queued. */
  notify(name, ...args) {
    this.bufferNotify(name, JSON.stringify(args[0]));
  }
  bufferNotify(name, buf) {
    checkName(name);
    this._send(MsgTypeNotification, null, name, pack(buf));
  }
  request(op, value, arg) {
    return this._request(op, value, arg, JSON.stringify, (data) => data?.length ? JSON.parse(toText(data)) : null);
  }
  bufferRequest(op, buf, arg) {
    return this._request(op, buf, arg, (v) => v, (data) => data);
  }
  _request(op, value, arg, encode, decode) {
    if (typeof value == "function") {
      arg = value;
      value = void 0;
    }
    const cb = typeof arg == "function" ? arg : void 0;
    const { signal, timeout, retries = 3 } = cb ? {} : arg || {};
    const promise = new Promise((resolve2, reject) => {
      checkName(op);
      signal?.throwIfAborted();
      const body = pack(encode(value));
      let id = this._newID();
      let tries = 0;
      let retry, deadline;
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
      const fail = (err) => {
        done();
        reject(err);
      };
      const abort = () => fail(signal.reason);
      const pending = {
        _fail: fail,
        _result: (t, data, wait) => {
          if (t == MsgTypeRetryRes && tries++ < retries) {
            this._pending.delete(id);
            this._pending.set(id = this._newID(), pending);
            retry = setTimeout(send, Math.min(wait, maxWait));
            return;
          }
          done();
          if (t == MsgTypeErrorRes) reject(new GotalkError(toText(data)));
          else if (t == MsgTypeRetryRes) reject(new GotalkError(toText(data), "resource_exhausted"));
          else resolve2(data);
        }
      };
      this._pending.set(id, pending);
      signal?.addEventListener("abort", abort);
      if (timeout) {
        deadline = setTimeout(
          () => fail(new GotalkError(`request "${op}" timed out after ${timeout} ms`, "deadline_exceeded")),
          timeout
        );
      }
      send();
    }).then(decode);
    return cb ? promise.then((v) => call(cb, null, v), (err) => call(cb, err)) : promise;
  }
  _newID() {
    let id;
    do
      id = base36(this._nextOp++ % 36 ** 4, 4);
    while (this._pending.has(id));
    return id;
  }
  // A request has its result, or nobody waits for it any more.
  _forget(id, pending) {
    if (this._pending.get(id) != pending) return;
    this._pending.delete(id);
    this._queue = this._queue.filter((m) => m._id != id);
    if (this._ending && !this._pending.size && this._conn?._open) this._conn._close(1e3);
  }
  /** Begins a stream request; nothing is sent before the first write. */
  streamRequest(op) {
    checkName(op);
    let id;
    do {
      const n = this._nextStream++;
      id = String.fromCharCode(33 + n / 36 ** 3 % 15) + base36(n % 36 ** 3, 3);
    } while (this._pending.has(id));
    let begun = false;
    const stream = new StreamRequest(op, id, (v) => {
      const body = pack(v);
      if (!begun) this._send(MsgTypeStreamReq, id, op, body);
      if (begun || !body) this._send(MsgTypeStreamReqPart, id, null, body);
      begun = true;
      return body;
    });
    const pending = {
      _fail: (err) => stream._finish(err),
      _result: (t, data) => {
        const failed = t == MsgTypeErrorRes || t == MsgTypeRetryRes;
        if (data && !failed) stream.emit("data", data);
        if (t == MsgTypeStreamRes && data) return;
        this._forget(id, pending);
        stream._finish(failed ? new GotalkError(toText(data)) : null);
      }
    };
    this._pending.set(id, pending);
    return stream;
  }
  _onMsg(conn, { t, id = "", name = "", wait, size }, data) {
    switch (t) {
      case MsgTypeSingleReq:
        this._serve(conn, id, name, data);
        break;
      case MsgTypeStreamReq:
        this._serveStream(conn, id, name, data);
        break;
      case MsgTypeStreamReqPart: {
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
        this.emit("heartbeat", { time: new Date(size * 1e3), load: wait });
        break;
      case MsgTypeProtocolError:
        conn._broken(size);
        break;
      default:
        throw ErrInvalidMsg;
    }
  }
  // Answers a request once, and only over the connection that it came from.
  _replier(conn, id) {
    let done = false;
    return (t, v) => {
      const body = pack(v);
      if (!done && this._conn == conn && conn._open) this._send(t, id, null, body);
      done = true;
    };
  }
  _serve(conn, id, op, data) {
    const reply = this._replier(conn, id);
    const handler = !reserved(op) && this.handlers.findRequestHandler(op);
    if (!handler) return reply(MsgTypeErrorRes, noSuchOperation(op));
    const result = Object.assign(
      (v) => reply(MsgTypeSingleRes, v),
      { error: (err) => reply(MsgTypeErrorRes, message(err)) }
    );
    try {
      serve(handler, data, result, op);
    } catch (err) {
      result.error(internal(err));
    }
  }
  _serveStream(conn, id, op, data) {
    if (this._served.has(id)) throw ErrInvalidMsg;
    const reply = this._replier(conn, id);
    const handler = !reserved(op) && this.handlers.findStreamRequestHandler?.(op);
    if (!handler) return reply(MsgTypeErrorRes, noSuchOperation(op));
    const over = () => this._served.get(id) == stream && this._served.delete(id);
    const stream = new StreamResponse(op, id, (v) => {
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
      const r = handler(stream, op);
      if (typeof r?.then == "function") r.then(() => stream.end(), (err) => stream.error(err));
    } catch (err) {
      stream.error(internal(err));
    }
    if (data) stream.emit("data", data);
  }
  /** load is from 0 (idle) to 1 (takes no more work). */
  sendHeartbeat(load) {
    const conn = this._conn;
    if (!conn?._open) throw new GotalkError("socket is closed", "unavailable");
    conn._send(binary.makeHeartbeatMsg(Math.round(Math.max(0, Math.min(1, load || 0)) * HeartbeatMsgMaxLoad)));
    conn._beatAt = Date.now();
  }
  /** Is called when the peer's version has come. */
  startSendingHeartbeats() {
    if (this.heartbeatInterval > 0 && this.heartbeatInterval < 10) throw new Error("Sock.heartbeatInterval is too low");
    this._scheduleBeat(1);
  }
  stopSendingHeartbeats() {
    clearTimeout(this._conn?._timer);
  }
  _scheduleBeat(delay) {
    const conn = this._conn;
    clearTimeout(conn?._timer);
    if (!conn?._open || !(this.heartbeatInterval >= 10)) return;
    conn._timer = setTimeout(() => {
      if (Date.now() - conn._beatAt > this.heartbeatInterval + 3e4) this._wake();
      else this._ping(Math.max(this.heartbeatInterval, aliveWait));
      this._scheduleBeat(this.heartbeatInterval);
    }, delay);
  }
  // Sends a heartbeat. A peer that said hello answers it; if nothing comes within ms, the connection is dead.
  _ping(ms) {
    const conn = this._conn;
    if (!conn?._open) return;
    this.sendHeartbeat(0);
    if (!conn._hello || conn._probe) return;
    const due = Date.now() + ms;
    conn._probe = setTimeout(() => {
      conn._probe = void 0;
      if (Date.now() > due + 1e3) this._ping(aliveWait);
      else this._drop(ErrTimeout);
    }, ms);
  }
  /** @internal Finds out whether the connection has survived a sleep or a change of network. */
  _wake() {
    const conn = this._conn;
    if (!conn?._open) return;
    clearTimeout(conn._probe);
    conn._probe = void 0;
    if (!conn._hello && this.heartbeatInterval && Date.now() - conn._beatAt > deadAfter) this._drop(ErrTimeout);
    else this._ping(aliveWait);
  }
};
Sock.prototype.requestp = Sock.prototype.request;
Sock.prototype.bufferRequestp = Sock.prototype.bufferRequest;

// src/index.ts
function callable(c) {
  function f(...args) {
    return Reflect.construct(c, args, new.target || f);
  }
  f.prototype = c.prototype;
  f.prototype.constructor = f;
  return f;
}
var Sock2 = callable(Sock);
var Handlers2 = callable(Handlers);
var version = "1.4.0";
var defaultHandlers = Handlers2();
function Buf(v) {
  return typeof v == "number" ? new Uint8Array(v) : toBytes(v);
}
function make(handlers, proto) {
  const options = handlers && "findRequestHandler" in handlers ? { handlers } : handlers;
  return Sock2({ handlers: defaultHandlers, ...options }, proto);
}
function open(addr, onConnect, handlers, proto) {
  return make(handlers, proto).open(addr, onConnect || void 0);
}
function connection(addr, handlers, proto) {
  return make(handlers, proto).openKeepAlive(addr);
}
var handleRequest = (op, fn) => defaultHandlers.handleRequest(op, fn);
var handle = handleRequest;
var handleBufferRequest = (op, fn) => defaultHandlers.handleBufferRequest(op, fn);
var handleNotification = (name, fn) => defaultHandlers.handleNotification(name, fn);
var handleBufferNotification = (name, fn) => defaultHandlers.handleBufferNotification(name, fn);
var handleStreamRequest = (op, fn) => defaultHandlers.handleStreamRequest(op, fn);
setScript(globalThis.document?.currentScript?.src);
var gotalk = {
  version,
  protocol,
  Buf,
  Sock: Sock2,
  Handlers: Handlers2,
  StreamRequest,
  EventEmitter,
  GotalkError,
  ErrAbnormal,
  ErrUnsupported,
  ErrInvalidMsg,
  ErrTimeout,
  open,
  connection,
  defaultHandlers,
  handle,
  handleRequest,
  handleBufferRequest,
  handleNotification,
  handleBufferNotification,
  handleStreamRequest,
  /** Warnings on the console. On if the script was loaded from this machine. */
  get developmentMode() {
    return env.developmentMode;
  },
  set developmentMode(on) {
    env.developmentMode = on;
  },
  /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
  get defaultResponderAddress() {
    return env.defaultResponderAddress;
  },
  set defaultResponderAddress(addr) {
    env.defaultResponderAddress = addr;
  }
};
Object.defineProperties(gotalk, { default: { value: gotalk }, __esModule: { value: true } });
var index_default = gotalk;
export {
  Buf,
  ErrAbnormal,
  ErrInvalidMsg,
  ErrTimeout,
  ErrUnsupported,
  EventEmitter,
  GotalkError,
  Handlers2 as Handlers,
  Sock2 as Sock,
  StreamRequest,
  connection,
  index_default as default,
  defaultHandlers,
  handle,
  handleBufferNotification,
  handleBufferRequest,
  handleNotification,
  handleRequest,
  handleStreamRequest,
  open,
  protocol,
  version
};
