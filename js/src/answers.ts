// Requests and streams that the peer begins.
import { limit } from "./calls";
import type { Conn } from "./conn";
import { warn } from "./env";
import { codeOf, ErrInvalidMsg, GotalkError } from "./errors";
import { isPromise, reserved, serve } from "./handlers";
import {
  MsgTypeErrorRes, MsgTypeRetryRes, MsgTypeSingleReq, MsgTypeSingleRes, MsgTypeStreamReqPart, MsgTypeStreamRes, pack,
} from "./protocol";
import type { Sock } from "./sock";
import { Stream } from "./stream";
import type { Data, Payload } from "./types";

/** Has a request answered: once, and only over the connection that it came from. */
export function answer(s: Sock<any>, conn: Conn, t: number, id: string, op: string, data: Data): void {
  if (t != MsgTypeSingleReq && s._served.has(id)) throw ErrInvalidMsg;
  const { timeout_ms, ...meta } = (conn._meta?.[0] == id ? conn._meta![1] : {}) as any;
  conn._meta = undefined;
  let served: Stream | undefined;
  const [stop, about] = limit({ timeout: +timeout_ms, meta }, (err) => served!._finish(err));
  // The one message that ends it.
  let reply = (t: number, v?: Payload, wait?: number): void => {
    const body = pack(v);
    reply = () => {};
    stop();
    if (s._served.get(id) == served) s._served.delete(id);
    if (s._conn != conn) return;
    if (conn._open) s._send(conn, t, id, null, body, wait);
    s._drain();
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
  const { handlers } = s;
  try {
    const handler: any =
      !reserved(op) && (t == MsgTypeSingleReq ? handlers.findRequestHandler(op) : handlers.findStreamRequestHandler?.(op));
    if (!handler) return error(new GotalkError(`no such operation "${op}"`, "unimplemented"));
    // A plain request, too: for its signal, and to be failed like a stream.
    s._served.set(id, (served = Object.assign(new Stream(
      s, op, id, MsgTypeStreamReqPart,
      (body) => (body ? s._send(conn, MsgTypeStreamRes, id, null, body) : served!._finish(null)),
      (err) => (err === null ? reply(MsgTypeStreamRes) : error(err)),
    ), about)));
    if (t == MsgTypeSingleReq) {
      serve<Data, Payload>(
        handler, data, Object.assign((v?: Payload) => reply(MsgTypeSingleRes, v), { error }), op,
        { sock: s, signal: served.signal, ...about },
      );
    } else {
      const stream = served;
      const r = handler(stream, op, stream);
      if (isPromise(r)) r.then(() => stream.end(), (err) => stream.cancel(err));
      if (data) stream._part(data);
    }
  } catch (err) {
    warn(err);
    // A peer is told nothing of an exception, unless that was made to be told.
    err = codeOf(err) ? err : new GotalkError("internal error", "internal");
    if (served) served._finish(err);
    else error(err);
  }
}
