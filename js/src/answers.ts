// Requests and streams that the peer begins.
import { limit } from "./calls";
import type { Conn } from "./conn";
import { warn } from "./env";
import { codeOf, ErrInvalidMsg, GotalkError } from "./errors";
import { isPromise, reserved, serve } from "./handlers";
import {
  binary, concat, MsgTypeErrorRes, MsgTypeRetryRes, MsgTypeSingleReq, MsgTypeSingleRes, MsgTypeStreamReqPart,
  MsgTypeStreamRes, pack, toBytes,
} from "./protocol";
import type { Sock } from "./sock";
import { Stream } from "./stream";
import type { Data, Payload } from "./types";

/** Has a request answered: once, and only over the connection that it came from. */
export function answer(s: Sock<any>, conn: Conn, t: number, id: string, op: string, data: Data): void {
  if (t != MsgTypeSingleReq && s._served.has(id)) throw ErrInvalidMsg;
  const { timeout_ms, ...meta } = (conn._meta?.[0] == id ? conn._meta![1] : {}) as any;
  conn._meta = undefined;
  const split = typeof meta.size == "number" && delete meta.size; // what comes are parts of a single request
  // Of a plain request, too: for its signal, and to be failed like a stream.
  const stream = new Stream(
    s, op, id, MsgTypeStreamReqPart,
    (body) => (body ? s._send(conn, MsgTypeStreamRes, id, null, body) : stream._finish(null)),
    (err) => (err === null ? reply(MsgTypeStreamRes) : error(err)),
  );
  const [stop, about] = limit({ timeout: +timeout_ms, meta }, (err) => stream._finish(err));
  Object.assign(stream, about);
  // The one message that ends it.
  let reply = (t: number, v?: Payload, wait?: number): void => {
    const body = pack(v);
    reply = () => {};
    stop();
    if (s._served.get(id) == stream) s._served.delete(id);
    if (conn._open) s._send(stream, t, id, null, body, wait);
  };
  // In JSON if the peer reads that and there is more to say than the text.
  const error = (err: any): void => {
    const message = String(err?.message ?? err);
    const code = codeOf(err) || "unknown";
    const wait = conn._peer && err?._wait;
    reply(
      wait == null ? MsgTypeErrorRes : MsgTypeRetryRes,
      wait == null && conn._can("error") && (code != "unknown" || message[0] == "{")
        ? JSON.stringify({ code, message, details: err.details })
        : message || code,
      wait,
    );
  };
  const attempt = (fn: () => void): void => {
    try {
      fn();
    } catch (err) {
      warn(err);
      // A peer is told nothing of an exception, unless that was made to be told.
      stream._finish(codeOf(err) ? err : new GotalkError("internal error", "internal"));
    }
  };
  const streams: any = t != MsgTypeSingleReq && !split && s.handlers.findStreamRequestHandler?.(op);
  const handler = !reserved(op) && (streams || s.handlers.findRequestHandler(op));
  if (!handler) return stream._finish(new GotalkError(`no such operation "${op}"`, "unimplemented"));
  s._served.set(id, stream);
  const run = (data: Data) => attempt(() =>
    serve<Data, Payload>(handler, data, Object.assign((v?: Payload) => reply(MsgTypeSingleRes, v), { error }), op, stream));
  if (t == MsgTypeSingleReq) return run(data);
  if (streams) {
    attempt(() => {
      const r = handler(stream, op, stream);
      if (isPromise(r)) r.then(() => stream.end(), (err) => stream.cancel(err));
    });
  } else {
    // The handler gets the whole when that is there. Nobody is slow to take the parts, so their window grows with each.
    const parts: Uint8Array[] = [];
    stream.on("data", (b) => {
      parts.push((b = toBytes(b)));
      conn._say("credit", binary.makeMsg(MsgTypeStreamReqPart, id, null, 0, 2 * b.length));
    });
    stream.on("end", (err) => err || run(pack(concat(parts))));
  }
  if (data) stream._part(data);
}
