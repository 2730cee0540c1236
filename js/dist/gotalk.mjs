// src/env.ts
var env = {
  /** Warnings on the console. On if the script was loaded from this machine. */
  developmentMode: false,
  /** Where open and connection go without an address: the folder of the script, "" if that is unknown. */
  defaultResponderAddress: ""
};
function warn(err) {
  if (env.developmentMode) console.warn("gotalk:", err);
}
var base;
var withHost = (url) => url && new URL(url).host && url;
var isLocal = (url) => /(^|\.)local(host)?$|^127\.|^\[::1]/.test(new URL(url).hostname);
var webSocketURL = (path, from) => new URL(path, from).href.replace(/^http/, "ws");
function setScript(src) {
  base = withHost(src);
  if (!base) return;
  env.defaultResponderAddress = webSocketURL(".", base);
  env.developmentMode = isLocal(base);
}
function resolve(addr) {
  addr ||= env.defaultResponderAddress;
  if (!addr) throw Error("address not specified");
  const from = base || withHost(globalThis.location?.href);
  return from && !/^(ws|http)s?:\//i.test(addr) ? webSocketURL(addr.replace(/^\/?/, "/"), from) : addr;
}

// src/errors.ts
var GotalkError = class extends Error {
  /** `code` is "unknown" unless given, and best one of `Code`. */
  constructor(message, code = "unknown", details) {
    super(message);
    this.code = code;
    this.details = details;
  }
};
function retryAfter(ms, reason = "") {
  const err = new GotalkError(reason, "unavailable");
  err._wait = Math.max(0, ms) >>> 0;
  return err;
}
var codeOf = (err) => err instanceof GotalkError || typeof err?.code == "string" && /^[a-z_]+$/.test(err.code) ? err.code : void 0;
var canceled = () => new GotalkError("canceled", "canceled");
var errors = ["abnormal condition", "unsupported protocol", "invalid protocol message", "timeout"].map(
  (message, code) => Object.assign(Error(message), { isGotalkProtocolError: true, code })
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
var toText = (b) => typeof b == "string" ? b : decoder.decode(b);
function toBytes(v) {
  if (typeof v == "string") return utf8(v);
  if (v?.byteLength >= 0) return new Uint8Array(v.buffer || v, v.byteOffset, v.byteLength);
  throw TypeError("payload is not a string or BufferSource");
}
function pack(v) {
  const b = typeof v == "string" ? v : toBytes(v ?? "");
  if (b.length) return b;
  return;
}
function concat(parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}
function fixnum(n, digits) {
  const s = n.toString(16);
  if (n >>> 0 != n || s.length > digits) throw RangeError(n + " is out of range");
  return s.padStart(digits, "0");
}
function makeMsg(t, id, name, wait = 0, size = 0) {
  return String.fromCharCode(t) + (id || "") + (name == null ? "" : fixnum(utf8(name).length, 3) + name) + (t == MsgTypeRetryRes ? fixnum(wait, 8) : "") + fixnum(size, 8);
}
function makeHeartbeatMsg(load) {
  return "h" + fixnum(load, 4) + fixnum(Date.now() / 1e3 >>> 0, 8);
}
function hex(s) {
  if (/[^\da-f]/i.test(s)) throw Error("invalid hexint " + s);
  return parseInt(s, 16);
}
function* parser() {
  const ascii = (v) => String.fromCharCode(...toBytes(v));
  const type = ascii(yield 1);
  return {
    t: type.charCodeAt(0),
    id: "nhf".includes(type) ? void 0 : ascii(yield 4),
    name: "rsn".includes(type) ? toText(yield hex(ascii(yield 3))) : void 0,
    wait: type == "e" ? hex(ascii(yield 8)) : type == "h" ? hex(ascii(yield 4)) : 0,
    size: hex(ascii(yield 8))
  };
}
function parseMsg(v) {
  const b = toBytes(v);
  const p = parser();
  let at = 0;
  let r = p.next("");
  while (!r.done) r = p.next(b.subarray(at, at += r.value));
  if (!(at <= b.length)) throw Error("incomplete message");
  return r.value;
}
var parseVersion = (v) => hex(toText(v).slice(0, 2));
var versionText = fixnum(Version, 2);
var binary = {
  versionBuf: utf8(versionText),
  makeFixnum: (n, digits) => utf8(fixnum(n, digits)),
  parseVersion,
  parseMsg,
  /** Throws a RangeError if the name has more than 4095 bytes, or a number does not fit. */
  makeMsg(t, id, name, wait, size) {
    const b = utf8(makeMsg(t, id && "    ", name, wait, size));
    b.set(Array.from(id || "", (c) => c.charCodeAt(0)), 1);
    return b;
  },
  makeHeartbeatMsg: (load) => utf8(makeHeartbeatMsg(load))
};
var text = {
  versionBuf: versionText,
  makeFixnum: fixnum,
  parseVersion,
  parseMsg,
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
function checkName(name) {
  if (reserved(name) || utf8(name).length > 4095) {
    throw new GotalkError(`name is reserved or longer than 4095 bytes: ${name.slice(0, 99)}`, "invalid_argument");
  }
}
var isPromise = (v) => typeof v?.then == "function";
var decodeJSON = (data) => JSON.parse(toText(data) || "null");
function parseJSON(data) {
  try {
    return decodeJSON(data);
  } catch (err) {
    warn(err);
  }
}
function serve(fn, value, result, op, ctx) {
  const r = fn(value, result, op, ctx);
  const n = fn.length;
  if (isPromise(r)) {
    r.then((v) => {
      if (n < 2 || n > 3 || v !== void 0) result(v);
    }).then(null, result.error);
  } else if (n < 2) {
    result(r);
  }
}
function set(map, name, fn) {
  checkName(name);
  if (fn) map.set(name, fn);
  else map.delete(name);
}
var Handlers = class {
  constructor() {
    this._requests = /* @__PURE__ */ new Map();
    this._notifications = /* @__PURE__ */ new Map();
    this._streams = /* @__PURE__ */ new Map();
  }
  /**
   * Values are JSON both ways. fn is called when the whole value has come. It also gets stream requests for which there is
   * no stream handler.
   */
  handleRequest(op, fn) {
    set(this._requests, op, fn && ((data, result, op2, ctx) => serve(
      fn,
      parseJSON(data),
      Object.assign((v) => result(JSON.stringify(v)), { error: result.error }),
      op2,
      ctx
    )));
  }
  /** The same with raw payloads. */
  handleBufferRequest(op, fn) {
    set(this._requests, op, fn);
  }
  /** The value is JSON. */
  handleNotification(name, fn) {
    set(this._notifications, name, fn && ((data, name2, ctx) => fn(parseJSON(data), name2, ctx)));
  }
  handleBufferNotification(name, fn) {
    set(this._notifications, name, fn);
  }
  /**
   * Answers stream requests, but for those that are one large payload in parts. If fn returns a promise, the stream ends,
   * or fails, with it.
   */
  handleStreamRequest(op, fn) {
    set(this._streams, op, fn);
  }
  handleStream(op, fn, options) {
    set(this._streams, op, fn && (async (stream2) => {
      Object.assign(stream2, { _in: [], _json: options?.json });
      await fn(stream2);
    }));
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

// src/events.ts
var EventEmitter = class {
  constructor() {
    // The lists are replaced, never changed, so one can be walked while its listeners come and go.
    this._lists = /* @__PURE__ */ new Map();
  }
  _list(type) {
    return this._lists.get(type) || [];
  }
  /** Has fn called each time, or only the next time. Throws a TypeError if fn is not a function. */
  on(type, fn, once) {
    if (typeof fn != "function") throw TypeError("listener is not a function");
    this._lists.set(type, [...this._list(type), [fn, once]]);
    return this;
  }
  /** The same as on. */
  get addListener() {
    return this.on;
  }
  /** Has fn called the next time only. */
  once(type, fn) {
    return this.on(type, fn, true);
  }
  /** Takes fn away, once if it was added several times. */
  removeListener(type, fn) {
    let found = false;
    this._lists.set(type, this._list(type).filter((l) => found || !(found = l[0] == fn)));
    return this;
  }
  /** The same as removeListener. */
  get off() {
    return this.removeListener;
  }
  /** Takes all listeners away, of one event or of all. */
  removeAllListeners(type) {
    if (type === void 0) this._lists.clear();
    else this._lists.delete(type);
    return this;
  }
  listeners(type) {
    return this._list(type).map((l) => l[0]);
  }
  /** Calls the listeners in the order in which they were added, and says whether there were any. */
  emit(type, ...args) {
    const list = this._list(type);
    for (const [fn, once] of list) {
      if (once) this.removeListener(type, fn);
      call(fn.bind(this), ...args);
    }
    return list.length > 0;
  }
};

// src/extensions.ts
var window = 262144;
var helloWait = 100;
var maxSize = 16384;
var hello = JSON.stringify({
  cancel: 1,
  credit: window,
  error: 1,
  goaway: 1,
  join: 1,
  meta: 1,
  split: 65536
});
function parse(b, at) {
  const text2 = toText(b.subarray(at));
  if (b.length > maxSize || !/^\s*{/.test(text2)) throw ErrInvalidMsg;
  return JSON.parse(text2);
}
function onExtension(s, conn, name, data) {
  if (s.noExtensions) return;
  const b = toBytes(data || "");
  const head = String.fromCharCode(...b.slice(0, 4));
  if (name == "gotalk:hello") {
    conn._peer = parse(b);
    s._learn(conn, conn._peer.credit);
  }
  if (!conn._peer) return;
  if (name == "gotalk:cancel") {
    if (b.length != 4) throw ErrInvalidMsg;
    s._served.get(head)?._finish(canceled());
  } else if (name == "gotalk:credit") {
    const { t, id, size } = binary.parseMsg(b);
    if (b.length != 13 || !"pS".includes(head[0])) throw ErrInvalidMsg;
    (t == MsgTypeStreamReqPart ? s._pending : s._served).get(id)?._pump?.(size);
  } else if (name == "gotalk:meta") {
    conn._meta = [head, parse(b, 4)];
  } else if (name == "gotalk:goaway") {
    conn._away = parse(b);
    s._drain();
  }
}

// src/stream.ts
var ended = () => new GotalkError("stream ended", "aborted");
var Stream = class extends EventEmitter {
  /**
   * gets is the type of the parts that come. write sends a part, or the end. end is called when the stream is over, with
   * why if it failed, and whether the peer knows that.
   */
  constructor(sock, op, id, _gets, _write, _end) {
    super();
    this.sock = sock;
    this.op = op;
    this.id = id;
    this._gets = _gets;
    this._write = _write;
    this._end = _end;
    this._control = new AbortController();
    this.signal = this._control.signal;
    this._due = 0;
    // bytes received for which no credit was given back
    this._taken = 0;
    // those of them that were consumed
    // What waits for credit; bytes sent for which none came back.
    this._out = [];
    this._sent = 0;
  }
  /** @internal */
  _encode(v) {
    return this._json ? JSON.stringify(v) : v;
  }
  /** @internal Sends a part, or the end, when there is credit for it. */
  _add(body, resolve2, reject) {
    if (this._closed || this._ended) {
      reject?.(this.signal.reason ?? ended());
      return;
    }
    this._closed = !body;
    this._out.push([body?.slice(), resolve2, reject]);
    this._pump();
  }
  /** @internal Sends what there is credit for, after n more bytes of it. A large part needs half a window. */
  _pump(n = 0) {
    this._sent -= n;
    const most = this.sock._conn?._window || window;
    for (let m; m = this._out[0]; m[1]?.()) {
      const n2 = toBytes(m[0] || "").length;
      if (n2 && Math.min(n2, most / 2) > most - this._sent) return;
      this._out.shift();
      this._sent += n2;
      this._write(m[0]);
    }
  }
  /** @internal A part has come. */
  _part(data) {
    if (!data) return this._close(null);
    if (this._eof) return;
    const b = toBytes(data);
    if (this._due >= 2 * window && this.sock._conn._can("credit")) {
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
  _took(n) {
    this._taken += n;
    if (!this._eof && this._taken >= window / (this._in?.length ? 2 : 8)) {
      this.sock._conn._say("credit", binary.makeMsg(this._gets, this.id, null, 0, this._taken));
      this._due -= this._taken;
      this._taken = 0;
    }
  }
  /** @internal No more parts will come. */
  _close(err) {
    if (this._eof) return;
    this._eof = true;
    this.emit("end", err);
    this._wake?.();
  }
  /** @internal The stream is over: null after an orderly end. told: the peer knows. */
  _finish(err, told) {
    if (this._ended) return;
    this._ended = true;
    if (!told && this._in) this._in = [];
    this._close(err);
    if (err !== null) this._control.abort(err);
    for (const m of this._out.splice(0)) m[2]?.(err ?? ended());
    this._end(err, told);
  }
  // The consumer has gone away. A handler may still have something to send.
  _leave(reason) {
    if (this._gets == MsgTypeStreamRes) this.cancel(reason);
  }
  write(buf) {
    this._add(pack(buf));
  }
  send(v) {
    return new Promise((resolve2, reject) => {
      const body = pack(this._encode(v));
      if (body) this._add(body, resolve2, reject);
      else resolve2();
    });
  }
  end() {
    this._add();
  }
  cancel(reason = canceled()) {
    this._finish(reason);
  }
  error(err) {
    this._finish(err);
  }
  async *[Symbol.asyncIterator]() {
    try {
      for (; ; ) {
        for (let b; b = this._in.shift(); ) {
          this._took(b.length);
          yield this._json ? JSON.parse(toText(b)) : b;
        }
        if (this._eof) return this.signal.throwIfAborted();
        await new Promise((resolve2) => this._wake = resolve2);
      }
    } finally {
      this._leave();
    }
  }
  get readable() {
    const chunks = this[Symbol.asyncIterator]();
    return this._readable ||= new ReadableStream({
      pull: (c) => chunks.next().then((r) => r.done ? c.close() : c.enqueue(r.value)),
      cancel: (reason) => this._leave(reason)
    });
  }
  get writable() {
    return this._writable ||= new WritableStream({
      write: (v) => this.send(v),
      close: () => this.end(),
      abort: (reason) => this.cancel(reason)
    });
  }
};

// src/calls.ts
var maxWait = 6e4;
var base36 = (n, digits) => n.toString(36).padStart(digits, "0").slice(-digits);
function newID(s) {
  let id;
  do
    id = base36(s._nextOp++, 4);
  while (s._pending.has(id));
  return id;
}
function forget(s, id, pending, cancel) {
  if (s._pending.get(id) != pending) return;
  s._pending.delete(id);
  const n = s._queue.length;
  s._queue = s._queue.filter((m) => m[0] != pending);
  const deaf = cancel && s._conn?._open && n == s._queue.length && !s._conn._say("cancel", id);
  s._drain();
  return deaf;
}
function failure(s, t, data) {
  const text2 = toText(data);
  if (t == MsgTypeErrorRes) {
    try {
      const { code, message, details } = s._conn._peer && JSON.parse(text2);
      if (typeof code == "string") return new GotalkError(message, code, details);
    } catch {
    }
    return new GotalkError(text2);
  }
  if (t == MsgTypeRetryRes) return new GotalkError(text2, "unavailable");
  return;
}
function limit({ signal, timeout, meta }, end) {
  signal?.throwIfAborted();
  const abort = () => end(signal.reason);
  let timer;
  let deadline;
  if (timeout && timeout < 2 ** 31) {
    deadline = Date.now() + timeout;
    timer = setTimeout(end, timeout, new GotalkError(`request timed out after ${timeout} ms`, "deadline_exceeded"));
  }
  signal?.addEventListener("abort", abort);
  return [() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }, { meta: meta || {}, deadline }];
}
function request(s, op, value, arg, encode, decode) {
  if (typeof value == "function") {
    arg = value;
    value = void 0;
  }
  const cb = typeof arg == "function" ? arg : void 0;
  const options = arg || {};
  const promise = new Promise((resolve2, reject) => {
    checkName(op);
    const body = pack(encode(value));
    const [stop, extra] = limit(options, (err) => finish(err));
    let id = newID(s);
    const send = () => {
      pending._retry = void 0;
      try {
        s._send(pending, MsgTypeSingleReq, id, op, body, 0, extra.deadline || options.meta ? extra : void 0);
      } catch (err) {
        finish(err, void 0, true);
      }
    };
    const finish = (err, data, done) => {
      stop();
      forget(s, id, pending, !done && !pending._retry);
      clearTimeout(pending._retry);
      if (err !== void 0) reject(err);
      else resolve2(data);
    };
    const { retries = extra.deadline ? Infinity : 3 } = options;
    let tries = 0;
    let parts = [];
    const pending = {
      _finish: finish,
      _result(t, data, wait) {
        if (t == MsgTypeStreamRes) {
          if (data) {
            parts.push(data = toBytes(data));
            return s._conn._say("credit", binary.makeMsg(t, id, null, 0, 2 * data.length));
          }
          data = pack(concat(parts));
        }
        if (t == MsgTypeRetryRes && tries < retries) {
          wait = Math.min(wait, maxWait);
          if (s._conn._peer) wait += Math.random() * Math.min(5e3, 100 * 2 ** tries);
          if (!(Date.now() + wait > extra.deadline)) {
            parts = [];
            tries++;
            s._pending.delete(id);
            s._pending.set(id = newID(s), pending);
            pending._retry = setTimeout(send, wait);
            s._drain();
            return;
          }
        }
        finish(failure(s, t, data), data, true);
      }
    };
    s._pending.set(id, pending);
    send();
  }).then(decode);
  return cb ? promise.then((v) => call(cb, null, v), (err) => call(cb, err)) : promise;
}
function stream(s, op, options) {
  checkName(op);
  let id;
  do {
    const n = s._nextStream++;
    id = String.fromCharCode(33 + n / 36 ** 3 % 15) + base36(n, 3);
  } while (s._pending.has(id));
  let begun = false;
  const [stop, extra] = limit(options || {}, (err) => st._finish(err));
  const st = Object.assign(
    new Stream(s, op, id, MsgTypeStreamRes, (body) => {
      if (!begun) s._send(st, MsgTypeStreamReq, id, op, body, 0, options && extra);
      if (begun || !body && !options) s._send(st, MsgTypeStreamReqPart, id, null, body);
      begun = true;
    }, (_err, told) => {
      stop();
      if (forget(s, id, st, !told) && !st._closed) s._conn._write(MsgTypeStreamReqPart, id);
    }),
    extra,
    {
      _result(t, data) {
        const err = failure(s, t, data) || null;
        if (data && !err) st._part(data);
        if (t != MsgTypeStreamRes || !data) st._finish(err, true);
      }
    }
  );
  if (options) {
    st._in = [];
    st._json = options.json;
    st._add(pack(st._encode(options.value)));
    st._closed = false;
  }
  s._pending.set(id, st);
  return st;
}

// src/answers.ts
function answer(s, conn, t, id, op, data) {
  if (t != MsgTypeSingleReq && s._served.has(id)) throw ErrInvalidMsg;
  const { timeout_ms, ...meta } = conn._meta?.[0] == id ? conn._meta[1] : {};
  conn._meta = void 0;
  const split = typeof meta.size == "number" && delete meta.size;
  const stream2 = new Stream(
    s,
    op,
    id,
    MsgTypeStreamReqPart,
    (body) => body ? s._send(conn, MsgTypeStreamRes, id, null, body) : stream2._finish(null),
    (err) => err === null ? reply(MsgTypeStreamRes) : error(err)
  );
  const [stop, about] = limit({ timeout: +timeout_ms, meta }, (err) => stream2._finish(err));
  Object.assign(stream2, about);
  let reply = (t2, v, wait) => {
    const body = pack(v);
    reply = () => {
    };
    stop();
    if (s._served.get(id) == stream2) s._served.delete(id);
    if (conn._open) s._send(stream2, t2, id, null, body, wait);
  };
  const error = (err) => {
    const message = String(err?.message ?? err);
    const code = codeOf(err) || "unknown";
    const wait = conn._peer && err?._wait;
    reply(
      wait == null ? MsgTypeErrorRes : MsgTypeRetryRes,
      wait == null && conn._can("error") && (code != "unknown" || message[0] == "{") ? JSON.stringify({ code, message, details: err.details }) : message || code,
      wait
    );
  };
  const attempt = (fn) => {
    try {
      fn();
    } catch (err) {
      warn(err);
      stream2._finish(codeOf(err) ? err : new GotalkError("internal error", "internal"));
    }
  };
  const streams = t != MsgTypeSingleReq && !split && s.handlers.findStreamRequestHandler?.(op);
  const handler = !reserved(op) && (streams || s.handlers.findRequestHandler(op));
  if (!handler) return stream2._finish(new GotalkError(`no such operation "${op}"`, "unimplemented"));
  s._served.set(id, stream2);
  const run = (data2) => attempt(() => serve(handler, data2, Object.assign((v) => reply(MsgTypeSingleRes, v), { error }), op, stream2));
  if (t == MsgTypeSingleReq) return run(data);
  if (streams) {
    attempt(() => {
      const r = handler(stream2, op, stream2);
      if (isPromise(r)) r.then(() => stream2.end(), (err) => stream2.cancel(err));
    });
  } else {
    const parts = [];
    stream2.on("data", (b) => {
      parts.push(b = toBytes(b));
      conn._say("credit", binary.makeMsg(MsgTypeStreamReqPart, id, null, 0, 2 * b.length));
    });
    stream2.on("end", (err) => err || run(pack(concat(parts))));
  }
  if (data) stream2._part(data);
}

// src/split.ts
function sendParts(s, conn, owner, type, id, name, b, size) {
  const request2 = type == MsgTypeSingleReq;
  const all = request2 ? s._pending : s._served;
  all.set(id, owner);
  conn._leaving++;
  let at = 0;
  const next = () => {
    if (conn._open && (all.get(id) == owner || !conn._can("cancel"))) {
      if (name == null && conn._ws.bufferedAmount > window) return setTimeout(next, 10);
      const part = b.subarray(at, at += owner._ended ? 0 : size);
      const t = owner._ended ? MsgTypeErrorRes : request2 ? MsgTypeStreamReqPart : MsgTypeStreamRes;
      conn._send(binary.makeMsg(name == null ? t : MsgTypeStreamReq, id, name, 0, part.length), part);
      name = null;
      if (part.length) {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
          port1.close();
          next();
        };
        return port2.postMessage(0);
      }
    }
    conn._leaving--;
    if (!request2 && all.get(id) == owner) all.delete(id);
    s._drain();
  };
  next();
}

// src/conn.ts
var maxBatch = 65536;
var Conn = class {
  constructor(_ws, _sock) {
    this._ws = _ws;
    this._sock = _sock;
    /** When the last heartbeat was sent. */
    this._beatAt = Date.now();
    /** How many payloads are leaving in parts. */
    this._leaving = 0;
    // Incoming WebSocket messages that were not looked at yet; bytes that the parser has not taken, and how many it wants.
    this._in = [];
    this._rest = [];
    this._size = 0;
    this._parser = this._parse();
    this._want = this._parser.next("").value;
    this._batch = [];
    this._batched = 0;
    _ws.binaryType = "arraybuffer";
  }
  /** Says whether the peer can do what a key of its hello stands for. */
  _can(key) {
    return key in (this._peer || {});
  }
  /** Sends a message, and before it what the peer is to know of it. Large payloads of requests and results leave in parts. */
  _write(t, id, name, body, wait, { meta, deadline } = {}, owner) {
    const b = toBytes(body || "");
    const most = this._peer?.split >>> 0;
    const parts = most && b.length > most && (t | 32) == MsgTypeSingleReq;
    const json = JSON.stringify({
      // Says that the parts are of one payload. Metadata of the user's goes first.
      size: parts && t == MsgTypeSingleReq ? b.length : void 0,
      ...meta,
      timeout_ms: deadline && Math.max(1, Math.ceil(deadline - Date.now()))
    });
    if (json != "{}") this._say("meta", id + json);
    if (parts) sendParts(this._sock, this, owner, t, id, name, b.slice(), most);
    else this._send(binary.makeMsg(t, id, name, wait, b.length), body);
  }
  /** Sends an extension message, if the peer acts on it, and says whether it does. */
  _say(name, body) {
    const can = this._can(name);
    if (can) this._write(MsgTypeNotification, null, "gotalk:" + name, body);
    return can;
  }
  /** Sends header and payload: at once, as one WebSocket message for each, or joined with others. */
  _send(header, body) {
    if (this._can("join") && !this._text) {
      this._push(header);
      if (body?.length) this._push(toBytes(body));
    } else {
      const s = toText(header);
      this._ws.send(this._text && !s.includes("�") ? s : header);
      if (body?.length) this._ws.send(body);
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
    const all = concat(this._batch);
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
    this._close(4e3 + (code < 1e3 ? code : 2));
  }
  /** Ends the wait for a sign of life. */
  _alive() {
    clearTimeout(this._probe);
    this._probe = void 0;
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
    } catch (err) {
      this._closeError(err == ErrUnsupported ? 1 : 2);
    }
    this._busy = void 0;
  }
  /** Gives the next piece of the byte stream to the parser. Throws if it makes no sense. */
  _feed(data) {
    const b = toBytes(data);
    this._rest.push(b);
    this._size += b.length;
    for (let n; this._size >= (n = this._want) && this._reading && !this._err; ) {
      const all = this._rest.length == 1 ? this._rest[0] : concat(this._rest);
      this._size -= n;
      this._rest = this._size ? [all.subarray(n)] : [];
      const own = all == b && !this._size;
      this._want = this._parser.next(own ? typeof data == "string" ? data : b : all.slice(0, n)).value;
    }
  }
  *_parse() {
    if (toText(yield 2) != versionText) throw ErrUnsupported;
    call(() => this._sock.startSendingHeartbeats());
    for (; ; ) {
      const h = yield* parser();
      const type = String.fromCharCode(h.t);
      if (!"rspRSEenhf".includes(type)) throw ErrInvalidMsg;
      this._sock._onMsg(this, h, h.size && !"hf".includes(type) ? yield h.size : void 0);
    }
  }
};

// src/heartbeat.ts
var aliveWait = 5e3;
var deadAfter = 9e4;
function schedule(s, delay) {
  const conn = s._conn;
  const interval = s.heartbeatInterval;
  clearTimeout(conn?._timer);
  if (interval && interval < 10) throw Error("Sock.heartbeatInterval is too low");
  if (conn && interval) conn._timer = setTimeout(() => {
    ping(s, Date.now() - conn._beatAt > interval + 3e4);
    schedule(s, s.heartbeatInterval);
  }, delay);
}
function ping(s, woken) {
  const conn = s._conn;
  if (!conn?._open) return;
  if (woken) {
    conn._alive();
    if (!conn._answers && s.heartbeatInterval && Date.now() - conn._beatAt > deadAfter) return s._drop(ErrTimeout);
  }
  s.sendHeartbeat(0);
  if (!conn._answers || conn._probe) return;
  const wait = woken ? aliveWait : Math.max(s.heartbeatInterval, aliveWait);
  const due = Date.now() + wait;
  conn._probe = setTimeout(() => {
    conn._probe = void 0;
    if (Date.now() > due + 1e3) ping(s, true);
    else s._drop(ErrTimeout);
  }, wait);
}

// src/keepalive.ts
var events = ["online", "pageshow", "pagehide", "visibilitychange"];
var KeepAlive = class {
  /** @internal */
  constructor(_sock, _addr) {
    this._sock = _sock;
    this._addr = _addr;
    this.enabled = false;
    /** Milliseconds that a connection must last before the delays begin anew. */
    this.minUptime = 5e3;
    /** The bound of the first delay, in milliseconds. It doubles with each failure up to maxDelay. */
    this.minDelay = 500;
    this.maxDelay = 5e3;
    this._failures = 0;
    this._openedAt = 0;
  }
  get isConnected() {
    return !!this._sock._conn?._open;
  }
  /** Connects unless connected, and keeps it so. */
  enable() {
    this._listen(true);
    this._connect();
  }
  /** Lets things take their course; does not close the connection. */
  disable() {
    this._listen(false);
    clearTimeout(this._timer);
  }
  _listen(on) {
    this.enabled = on;
    for (const type of events) globalThis[on ? "addEventListener" : "removeEventListener"]?.(type, this);
  }
  _connect() {
    clearTimeout(this._timer);
    if (this._sock._conn) return;
    this._sock.open(this._addr, (err) => {
      this._openedAt = err ? Infinity : Date.now();
      if (err) this._closed(err);
    });
  }
  /** @internal The connection is gone: null after an orderly close. away is when the peer wants us back, if it said. */
  _closed(err, away) {
    if (!this.enabled) return;
    if (away || Date.now() - this._openedAt >= this.minUptime) this._failures = 0;
    let delay = Math.max(100, Math.random() * Math.min(this.maxDelay, this.minDelay * 2 ** this._failures++));
    const broken = err?.isGotalkProtocolError && err != ErrTimeout;
    if (broken) delay = this.maxDelay * (1 + Math.random());
    if (globalThis.navigator?.onLine === false && !isLocal(resolve(this._addr))) delay = 6e4;
    if (away) delay = Math.min(2 ** 31 - 1, away.after_ms + Math.random() * away.jitter_ms) || 0;
    this._timer = setTimeout(() => this._connect(), delay);
  }
  /** @internal For the browser, which calls it with the events above. */
  handleEvent(ev) {
    if (ev.type == "pagehide") {
      this._sock._drop(null);
      clearTimeout(this._timer);
    } else if (ev.persisted !== false && !globalThis.document?.hidden) {
      if (this._sock._conn) ping(this._sock, true);
      else this._connect();
    }
  }
};

// src/sock.ts
var closeNames = [
  "normal",
  "going away",
  "protocol error",
  "unsupported",
  "",
  "no status",
  "abnormal",
  "inconsistent",
  "invalid message",
  "too large"
];
var notOpen = (message = "socket is closed") => new GotalkError(message, "unavailable");
var closed = (err) => notOpen(err?.message || "connection closed");
var Sock = class extends EventEmitter {
  /** The third parameter is what the second of connection() and the third of open() default to. */
  constructor(handlers, proto, fallback = new Handlers()) {
    super();
    /** Change it before connecting. */
    this.protocol = binary;
    /** Milliseconds between heartbeats; 0 for none. A value below 10 is an error. */
    this.heartbeatInterval = 2e4;
    /** How many messages may wait for a connection. Sending more fails with `socket is closed`. */
    this.sendBufferLimit = 100;
    this.noExtensions = false;
    /** The current WebSocket. */
    this.ws = null;
    /** What keeps the connection open, after openKeepAlive. */
    this.keepalive = null;
    /** @internal Our requests and streams, by id. */
    this._pending = /* @__PURE__ */ new Map();
    /** @internal The requests and streams that the peer began and that are not over. */
    this._served = /* @__PURE__ */ new Map();
    /** @internal Messages that wait for the connection to open, for the peer's hello, or for another connection. */
    this._queue = [];
    /** @internal */
    this._nextOp = 0;
    /** @internal */
    this._nextStream = 0;
    /** @internal end() was called and waits for pending results. */
    this._ending = false;
    const options = handlers && "findRequestHandler" in handlers ? { handlers } : handlers;
    Object.assign(this, options, proto && { protocol: proto });
    this.handlers ||= fallback;
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
      if (!WS) throw Error("no WebSocket: pass one as option");
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
      call(cb, null, this);
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
    if (ws.readyState != 1) throw notOpen();
    this._drop(null);
    this._attach(ws);
  }
  adopt(ws) {
    this.adoptWebSocket(ws);
  }
  _attach(ws) {
    const conn = new Conn(ws, this);
    this.ws = ws;
    this._conn = conn;
    ws.onmessage = (ev) => {
      conn._alive();
      conn._receive(ev.data);
    };
    const gone = ({ code, reason }) => {
      if (this._conn != conn) return;
      reason = closeNames[code - 1e3] || reason;
      reason = "#" + code + (reason ? ` (${reason})` : "");
      if (conn._wasOpen) this._lost(conn._err || (code == 1e3 ? null : Error("websocket closed: " + reason)));
      else this._lost(Error("connection failed: " + reason));
    };
    ws.onclose = gone;
    ws.onerror = () => conn._wasOpen || gone({ code: 1006 });
    return conn;
  }
  /** Sends the version, what we can do beyond it, and what was queued. */
  handshake() {
    const conn = this._conn;
    conn._text = this.protocol == text;
    conn._send(binary.versionBuf);
    conn._open = conn._wasOpen = true;
    if (this.noExtensions) conn._window = Infinity;
    else conn._write(MsgTypeNotification, null, "gotalk:hello", hello);
    setTimeout(() => this._learn(conn, conn._window), helloWait);
    this._drain();
  }
  /** @internal It is known what the peer can do, or that it will not say. */
  _learn(conn, window2) {
    conn._window = window2 || Infinity;
    this._drain();
    for (const p of [...this._pending.values(), ...this._served.values()]) p._pump?.();
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
      if (this._ending) conn._close(1e3);
      this._ending = true;
      this._drain();
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
    if (this._conn) {
      this._conn._close(1e3);
      this._lost(err);
    }
  }
  // The connection is gone, or could not be made.
  _lost(err) {
    const conn = this._conn;
    conn._open = conn._reading = false;
    clearTimeout(conn._timer);
    conn._alive();
    this._conn = void 0;
    this.ws = null;
    this._ending = false;
    if (!conn._wasOpen) return call(conn._failed, closed(err));
    this._nextOp = 0;
    this._failAll(conn._err || closed(err));
    this.keepalive?._closed(err, conn._away);
    this.emit("close", err);
  }
  // Says whether a request has not been sent yet, or is to be sent again later.
  _waits(owner) {
    return owner._retry || this._queue.some((m) => m[0] == owner && m[3] != null);
  }
  // Requests that never left may do so over the next connection, if there is going to be one. Of the rest, somebody
  // is told here that it failed, and so nothing of it may be sent.
  _failAll(err) {
    const again = (owner) => this.keepalive?.enabled && this._waits(owner);
    this._queue = this._queue.filter(([owner]) => !owner || again(owner));
    for (const p of [...this._pending.values(), ...this._served.values()]) again(p) || p._finish(err);
  }
  /** @internal Sends a message, or keeps it until it can be sent. Throws if too many wait. */
  _send(...m) {
    const conn = this._conn;
    if (toBytes(JSON.stringify([m[6], 2 ** 32])).length > maxSize) {
      throw new GotalkError("meta too large", "resource_exhausted");
    }
    if (m[3] != null && (!conn?._open || conn._away && m[0]) && this._queue.length >= this.sendBufferLimit) {
      throw notOpen();
    }
    this._queue.push(m);
    this._drain();
    if (this._queue.includes(m)) m[4] = m[4]?.slice();
  }
  /** @internal Sends what may be sent, in order. Closes the connection if that is wanted and nothing is under way. */
  _drain() {
    const conn = this._conn;
    for (let i = 0; conn?._open && i < this._queue.length; ) {
      const [owner, t, id, name, body, wait, extra] = this._queue[i];
      if (extra && !conn._window) return;
      if (conn._away && owner && this._waits(owner) || t == MsgTypeSingleReq && conn._leaving > 3 && body?.length > 65536) {
        i++;
        continue;
      }
      this._queue.splice(i, 1);
      conn._write(t, id, name, body, wait, extra, owner);
    }
    if (conn?._open && (this._ending && !this._pending.size && !conn._leaving || conn._away && !this._served.size && ![...this._pending.values()].some((p) => !this._waits(p)))) conn._close(1e3);
  }
  notify(name, value) {
    this.bufferNotify(name, JSON.stringify(value));
  }
  bufferNotify(name, buf) {
    checkName(name);
    this._send(null, MsgTypeNotification, null, name, pack(buf));
  }
  request(op, value, arg) {
    return request(this, op, value, arg, JSON.stringify, decodeJSON);
  }
  /** The same as request. */
  get requestp() {
    return this.request;
  }
  bufferRequest(op, buf, arg) {
    return request(this, op, buf, arg, (v) => v, (data) => data);
  }
  /** The same as bufferRequest. */
  get bufferRequestp() {
    return this.bufferRequest;
  }
  /** Begins a stream request; nothing is sent before the first write. */
  streamRequest(op) {
    return stream(this, op);
  }
  stream(op, options = {}) {
    return stream(this, op, options);
  }
  /** @internal A message has come, with its payload if that is not empty. */
  _onMsg(conn, { t, id = "", name = "", wait, size }, data) {
    if (t == MsgTypeSingleReq || t == MsgTypeStreamReq) answer(this, conn, t, id, name, data);
    else if (t == MsgTypeStreamReqPart) this._served.get(id)?._part(data);
    else if (t == MsgTypeNotification) {
      if (reserved(name)) onExtension(this, conn, name, data);
      else call(this.handlers.findNotificationHandler(name), data, name, { sock: this });
    } else if (t == MsgTypeHeartbeat) {
      conn._answers = conn._peer;
      this.emit("heartbeat", { time: new Date(size * 1e3), load: wait });
    } else if (t == MsgTypeProtocolError) conn._broken(size);
    else this._pending.get(id)?._result(t, data, wait);
  }
  /** load is from 0 (idle) to 1 (takes no more work). */
  sendHeartbeat(load) {
    const conn = this._conn;
    if (!conn?._open) throw notOpen();
    conn._send(binary.makeHeartbeatMsg(Math.round(Math.max(0, Math.min(1, load || 0)) * HeartbeatMsgMaxLoad)));
    conn._beatAt = Date.now();
  }
  /** Is called when the peer's version has come. */
  startSendingHeartbeats() {
    schedule(this, 1);
  }
  stopSendingHeartbeats() {
    clearTimeout(this._conn?._timer);
  }
};

// src/gotalk.ts
function callable(c) {
  return c.prototype.constructor = new Proxy(c, { apply: (_c, _this, args) => new c(...args) });
}
var Sock2 = callable(Sock);
var Handlers2 = callable(Handlers);
var defaultHandlers = new Handlers2();
var gotalk = Object.assign(env, {
  /** Version of this library. */
  version: "1.4.0",
  protocol,
  Sock: Sock2,
  Handlers: Handlers2,
  GotalkError,
  retryAfter,
  ErrAbnormal,
  ErrUnsupported,
  ErrInvalidMsg,
  ErrTimeout,
  /** The bytes of a BufferSource, not copied, or n zeros. */
  Buf: (v) => typeof v == "number" ? new Uint8Array(v) : toBytes(v),
  /** Connects once. onConnect is called with null and the Sock, or with why the connection could not be made. */
  open: (addr, onConnect, handlers, proto) => new Sock(handlers, proto, defaultHandlers).open(addr, onConnect),
  /** Connects and stays connected, see Sock.openKeepAlive. */
  connection: (addr, handlers, proto) => new Sock(handlers, proto, defaultHandlers).openKeepAlive(addr),
  /** The handlers of all Socks made by open and connection that were not given others. */
  defaultHandlers,
  // The methods of defaultHandlers.
  handle: defaultHandlers.handleRequest.bind(defaultHandlers),
  handleRequest: defaultHandlers.handleRequest.bind(defaultHandlers),
  handleBufferRequest: defaultHandlers.handleBufferRequest.bind(defaultHandlers),
  handleNotification: defaultHandlers.handleNotification.bind(defaultHandlers),
  handleBufferNotification: defaultHandlers.handleBufferNotification.bind(defaultHandlers),
  handleStreamRequest: defaultHandlers.handleStreamRequest.bind(defaultHandlers),
  handleStream: defaultHandlers.handleStream.bind(defaultHandlers)
});
Object.setPrototypeOf(gotalk, { default: gotalk, __esModule: true });
setScript(globalThis.document?.currentScript?.src);

// src/index.ts
var {
  Buf,
  connection,
  defaultHandlers: defaultHandlers2,
  ErrAbnormal: ErrAbnormal2,
  ErrInvalidMsg: ErrInvalidMsg2,
  ErrTimeout: ErrTimeout2,
  ErrUnsupported: ErrUnsupported2,
  GotalkError: GotalkError2,
  handle,
  handleBufferNotification,
  handleBufferRequest,
  handleNotification,
  handleRequest,
  handleStream,
  handleStreamRequest,
  Handlers: Handlers3,
  open,
  protocol: protocol2,
  retryAfter: retryAfter2,
  Sock: Sock3,
  version
} = gotalk;
var index_default = gotalk;
export {
  Buf,
  ErrAbnormal2 as ErrAbnormal,
  ErrInvalidMsg2 as ErrInvalidMsg,
  ErrTimeout2 as ErrTimeout,
  ErrUnsupported2 as ErrUnsupported,
  GotalkError2 as GotalkError,
  Handlers3 as Handlers,
  Sock3 as Sock,
  connection,
  index_default as default,
  defaultHandlers2 as defaultHandlers,
  handle,
  handleBufferNotification,
  handleBufferRequest,
  handleNotification,
  handleRequest,
  handleStream,
  handleStreamRequest,
  open,
  protocol2 as protocol,
  retryAfter2 as retryAfter,
  version
};
