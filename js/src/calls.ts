// Requests and streams that this side begins.
import { call, GotalkError } from "./errors";
import { checkName } from "./handlers";
import {
  MsgTypeErrorRes, MsgTypeRetryRes, MsgTypeSingleReq, MsgTypeStreamReq, MsgTypeStreamReqPart, MsgTypeStreamRes, pack,
  toText,
} from "./protocol";
import type { Sock } from "./sock";
import { StreamRequest } from "./stream";
import type { Callback, Data, Payload, RequestOptions } from "./types";

/** What waits for a result: one request, or one stream. */
export interface Pending {
  _result(t: number, payload: Data, wait: number): void;
  /** The connection is gone. */
  _finish(err: Error | null): void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

const maxWait = 60000; // for a retry, whatever the peer asks for

const base36 = (n: number, digits: number) => n.toString(36).padStart(digits, "0");

function newID(s: Sock<any>): string {
  let id;
  do id = base36(s._nextOp++ % 36 ** 4, 4);
  while (s._pending.has(id));
  return id;
}

// A request has its result, or nobody waits for it any more.
function forget(s: Sock<any>, id: string, pending: Pending): void {
  if (s._pending.get(id) != pending) return; // it was failed together with its connection
  s._pending.delete(id);
  s._queue = s._queue.filter((m) => m[0] != id);
  if (s._ending && !s._pending.size && s._conn?._open) s._conn._close(1000);
}

// What a result of type t means for those who do not try again.
const failure = (t: number, data: Data): GotalkError | undefined =>
  t == MsgTypeErrorRes || t == MsgTypeRetryRes ? new GotalkError(toText(data)) : undefined;

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
  let { signal, timeout, retries = 3 } = (arg || {}) as RequestOptions;
  const promise = new Promise<Data>((resolve, reject) => {
    checkName(op);
    signal?.throwIfAborted();
    const body = pack(encode(value));
    let id = newID(s);
    let retry: Timer, deadline: Timer;
    const send = () => {
      try {
        s._send(MsgTypeSingleReq, id, op, body);
      } catch (err) {
        finish(err);
      }
    };
    const abort = () => finish(signal!.reason);
    const finish = (err: unknown, data?: Data) => {
      clearTimeout(retry);
      clearTimeout(deadline);
      signal?.removeEventListener("abort", abort);
      forget(s, id, pending);
      if (err !== undefined) reject(err);
      else resolve(data);
    };
    const pending: Pending = {
      _finish: finish,
      _result(t, data, wait) {
        if (t == MsgTypeRetryRes && retries-- > 0) {
          // Under a new id, which is pending already during the wait.
          s._pending.delete(id);
          s._pending.set((id = newID(s)), pending);
          retry = setTimeout(send, Math.min(wait, maxWait));
        } else finish(failure(t, data), data);
      },
    };
    s._pending.set(id, pending);
    signal?.addEventListener("abort", abort);
    if (timeout && timeout < 2 ** 31) { // timers cannot wait for longer
      deadline = setTimeout(finish, timeout, new GotalkError(`request timed out after ${timeout} ms`, "deadline_exceeded"));
    }
    send();
  }).then(decode);
  return cb ? promise.then((v) => call(cb, null, v), (err) => call(cb, err)) : promise;
}

export function streamRequest(s: Sock<any>, op: string): StreamRequest {
  checkName(op);
  let id: string;
  do {
    // Old Go peers never forget the id of a stream, so all that can be told apart are used before one comes again.
    const n = s._nextStream++;
    id = String.fromCharCode(33 + ((n / 36 ** 3) % 15)) + base36(n % 36 ** 3, 3);
  } while (s._pending.has(id));
  let begun = false;
  let ended = false;
  const stream = Object.assign(new StreamRequest(op, id, (v) => {
    const body = pack(v);
    if (ended || s._pending.get(id) != stream) return;
    if (!begun) s._send(MsgTypeStreamReq, id, op, body);
    // An empty first part does not end a stream, so the end follows it.
    if (begun || !body) s._send(MsgTypeStreamReqPart, id, null, body);
    begun = true;
    ended = !body;
  }), {
    _result(t: number, data: Data) {
      const err = failure(t, data);
      if (data && !err) stream.emit("data", data);
      if (t == MsgTypeStreamRes && data) return;
      forget(s, id, stream);
      stream._finish(err || null);
    },
  });
  s._pending.set(id, stream);
  return stream;
}
