// Requests and streams that this side begins.
import { call, GotalkError } from "./errors";
import { checkName } from "./handlers";
import {
  binary, concat, MsgTypeErrorRes, MsgTypeRetryRes, MsgTypeSingleReq, MsgTypeStreamReq, MsgTypeStreamReqPart,
  MsgTypeStreamRes, pack, toBytes, toText,
} from "./protocol";
import type { Sock } from "./sock";
import { Stream } from "./stream";
import type { Callback, Data, Payload, RequestOptions, StreamOptions } from "./types";

/** What waits for a result: one request, or one stream. */
export interface Pending {
  _result(t: number, payload: Data, wait: number): void;
  /** The connection is gone. */
  _finish(err: unknown): void;
  /** Set while a request waits for its next try. */
  _retry?: Timer;
  /** More of a stream may be sent: the peer allows n bytes more, or it is known what it can do. */
  _pump?(n?: number): void;
}

/** What goes before a request, if the peer reads it. */
export interface Extra {
  meta: Record<string, string>;
  deadline?: number;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

const maxWait = 60000; // for a retry, whatever the peer asks for

const base36 = (n: number, digits: number) => n.toString(36).padStart(digits, "0").slice(-digits);

function newID(s: Sock<any>): string {
  let id;
  do id = base36(s._nextOp++, 4);
  while (s._pending.has(id));
  return id;
}

// A request has its result, or nobody waits for it any more. In that case the peer is told, if it is at work on it and
// can be told; if it cannot, this returns true.
function forget(s: Sock<any>, id: string, pending: Pending, cancel?: boolean): boolean | undefined {
  if (s._pending.get(id) != pending) return;
  s._pending.delete(id);
  const n = s._queue.length;
  s._queue = s._queue.filter((m) => m[0] != pending);
  const deaf = cancel && s._conn?._open && n == s._queue.length && !s._conn._say("cancel", id);
  s._drain();
  return deaf;
}

// What a result of type t means for those who do not try again. Only peers that said hello tell of errors in JSON, and
// not always.
function failure(s: Sock<any>, t: number, data: Data): GotalkError | undefined {
  const text = toText(data);
  if (t == MsgTypeErrorRes) {
    try {
      const { code, message, details } = s._conn!._peer && JSON.parse(text);
      if (typeof code == "string") return new GotalkError(message, code, details);
    } catch {}
    return new GotalkError(text);
  }
  if (t == MsgTypeRetryRes) return new GotalkError(text, "unavailable");
  return;
}

/** Has the signal and the timeout end a request. Also returns what is to be called when it has ended by itself. */
export function limit(
  { signal, timeout, meta }: RequestOptions, end: (err: unknown) => void,
): [stop: () => void, extra: Extra] {
  signal?.throwIfAborted();
  const abort = () => end(signal!.reason);
  let timer: Timer;
  let deadline: number | undefined;
  if (timeout && timeout < 2 ** 31) { // timers cannot wait for longer
    deadline = Date.now() + timeout;
    timer = setTimeout(end, timeout, new GotalkError(`request timed out after ${timeout} ms`, "deadline_exceeded"));
  }
  signal?.addEventListener("abort", abort);
  return [() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }, { meta: meta || {}, deadline }];
}

/** Makes a request. value is what encode makes a payload of, or the callback if there is no value. */
export function request<T>(
  s: Sock<any>, op: string, value: unknown, arg: RequestOptions | Callback<T> | undefined,
  encode: (value: any) => Payload, decode: (data: Data) => T,
): Promise<T | void> {
  if (typeof value == "function") {
    arg = value as Callback<T>;
    value = undefined;
  }
  const cb = typeof arg == "function" ? arg : undefined;
  const options = (arg || {}) as RequestOptions;
  const promise = new Promise<Data>((resolve, reject) => {
    checkName(op);
    const body = pack(encode(value));
    const [stop, extra] = limit(options, (err) => finish(err));
    let id = newID(s);
    const send = () => {
      pending._retry = undefined;
      try {
        s._send(pending, MsgTypeSingleReq, id, op, body, 0, extra.deadline || options.meta ? extra : undefined);
      } catch (err) {
        finish(err, undefined, true);
      }
    };
    const finish = (err: unknown, data?: Data, done?: boolean) => {
      stop();
      // While it waits for its next try the peer knows nothing of it.
      forget(s, id, pending, !done && !pending._retry);
      clearTimeout(pending._retry);
      if (err !== undefined) reject(err);
      else resolve(data);
    };
    const { retries = extra.deadline ? Infinity : 3 } = options;
    let tries = 0;
    let parts: Uint8Array[] = []; // of the result, if it comes in parts
    const pending: Pending = {
      _finish: finish,
      _result(t, data, wait) {
        if (t == MsgTypeStreamRes) {
          if (data) {
            parts.push((data = toBytes(data)));
            // Nobody is slow to take them, so their window grows with each.
            return s._conn!._say("credit", binary.makeMsg(t, id, null, 0, 2 * data.length));
          }
          data = pack(concat(parts));
        }
        if (t == MsgTypeRetryRes && tries < retries) {
          wait = Math.min(wait, maxWait);
          // Old peers choose the wait at random.
          if (s._conn!._peer) wait += Math.random() * Math.min(5000, 100 * 2 ** tries);
          if (!(Date.now() + wait > extra.deadline!)) {
            parts = [];
            tries++;
            // Under a new id, which is pending already during the wait.
            s._pending.delete(id);
            s._pending.set((id = newID(s)), pending);
            pending._retry = setTimeout(send, wait);
            s._drain();
            return;
          }
        }
        finish(failure(s, t, data), data, true);
      },
    };
    s._pending.set(id, pending);
    send();
  }).then(decode);
  return cb ? promise.then((v) => call(cb, null, v), (err) => call(cb, err)) : promise;
}

/** Begins a stream: at once, or if it has no options with the first write. */
export function stream(s: Sock<any>, op: string, options?: StreamOptions<any>): Stream {
  checkName(op);
  let id: string;
  do {
    // Old Go peers never forget the id of a stream, so all that can be told apart are used before one comes again.
    const n = s._nextStream++;
    id = String.fromCharCode(33 + ((n / 36 ** 3) % 15)) + base36(n, 3);
  } while (s._pending.has(id));
  let begun = false;
  const [stop, extra] = limit(options || {}, (err) => st._finish(err));
  const st = Object.assign(
    new Stream(s, op, id, MsgTypeStreamRes, (body) => {
      if (!begun) s._send(st, MsgTypeStreamReq, id, op, body, 0, options && extra);
      // An empty first part does not end a stream, so the end follows it.
      if (begun || !body && !options) s._send(st, MsgTypeStreamReqPart, id, null, body);
      begun = true;
    }, (_err, told) => {
      stop();
      // A peer that knows no cancel can still learn that no more will come.
      if (forget(s, id, st, !told) && !st._closed) s._conn!._write(MsgTypeStreamReqPart, id);
    }),
    extra,
    {
      _result(t: number, data: Data) {
        const err = failure(s, t, data) || null;
        if (data && !err) st._part(data);
        if (t != MsgTypeStreamRes || !data) st._finish(err, true);
      },
    },
  );
  if (options) {
    st._in = [];
    st._json = options.json;
    st._add(pack(st._encode(options.value)));
    st._closed = false; // without a value, too
  }
  s._pending.set(id, st);
  return st;
}
