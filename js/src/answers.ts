// Requests and streams that the peer begins.
import type { Conn } from "./conn";
import { warn } from "./env";
import { ErrInvalidMsg, GotalkError } from "./errors";
import { isPromise, reserved, serve } from "./handlers";
import { MsgTypeErrorRes, MsgTypeSingleReq, MsgTypeSingleRes, MsgTypeStreamRes, pack } from "./protocol";
import type { Sock } from "./sock";
import { StreamRequest, type StreamResponse } from "./stream";
import type { Data, Payload } from "./types";

/** Has a request answered: once, and only over the connection that it came from. */
export function answer(s: Sock<any>, conn: Conn, t: number, id: string, op: string, data: Data): void {
  if (s._served.has(id)) throw ErrInvalidMsg;
  let done = false;
  const send = (t: number, v: Payload): void => {
    const body = pack(v);
    if (done || s._conn != conn) return;
    if (conn._open) s._send(t, id, null, body);
    done = t != MsgTypeStreamRes || !body;
    if (done) s._served.delete(id);
  };
  const error = (err: any): void => send(MsgTypeErrorRes, err?.message ?? String(err));
  const { handlers } = s;
  try {
    const handler: any =
      !reserved(op) && (t == MsgTypeSingleReq ? handlers.findRequestHandler(op) : handlers.findStreamRequestHandler?.(op));
    if (!handler) return error(`no such operation "${op}"`);
    if (t == MsgTypeSingleReq) {
      serve<Data, Payload>(handler, data, Object.assign((v?: Payload) => send(MsgTypeSingleRes, v), { error }), op);
    } else {
      const stream: StreamResponse =
        Object.assign(new StreamRequest(op, id, (v) => send(MsgTypeStreamRes, v)), { error });
      s._served.set(id, stream);
      const r = handler(stream, op);
      if (isPromise(r)) r.then(() => stream.end(), error);
      if (data) stream.emit("data", data);
    }
  } catch (err) {
    warn(err);
    // A peer is told nothing of an exception, unless that was made to be told.
    error(err instanceof GotalkError ? err : "internal error");
  }
}
