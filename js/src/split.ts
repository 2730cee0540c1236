// Large payloads leave in parts, if the peer puts those together, so that small messages pass between them: a request as
// a streaming request, a result as streaming results.
import type { Conn } from "./conn";
import { window } from "./extensions";
import {
  binary, MsgTypeErrorRes, MsgTypeSingleReq, MsgTypeStreamReq, MsgTypeStreamReqPart, MsgTypeStreamRes,
} from "./protocol";
import type { Sock } from "./sock";

/** Sends the payload b of owner's request or result, as type says, in parts of size bytes, until that is cancelled or over. */
export function sendParts(
  s: Sock<any>, conn: Conn, owner: any, type: number, id: string, name: string | null | undefined,
  b: Uint8Array<ArrayBuffer>, size: number,
): void {
  const request = type == MsgTypeSingleReq;
  const all: Map<string, unknown> = request ? s._pending : s._served;
  all.set(id, owner); // a result is not over before its end
  conn._leaving++;
  let at = 0;
  const next = (): unknown => {
    // A request may be cancelled or answered. A peer that cannot be told of the cancel would wait for the rest for ever.
    if (conn._open && (all.get(id) == owner || !conn._can("cancel"))) {
      // Goes on when the network has taken most of what was sent. What begins a request follows its metadata at once.
      if (name == null && conn._ws.bufferedAmount > window) return setTimeout(next, 10);
      // A result that is cancelled still has to be ended.
      const part = b.subarray(at, (at += owner._ended ? 0 : size));
      const t = owner._ended ? MsgTypeErrorRes : request ? MsgTypeStreamReqPart : MsgTypeStreamRes;
      conn._send(binary.makeMsg(name == null ? t : MsgTypeStreamReq, id, name, 0, part.length), part);
      name = null;
      if (part.length) {
        // Unlike those of timers, its tasks come at once, and in hidden pages too. A port for each part, as Node gives a
        // port all of its messages in one task.
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
          port1.close();
          next();
        };
        return port2.postMessage(0);
      }
    }
    conn._leaving--;
    if (!request && all.get(id) == owner) all.delete(id);
    s._drain();
  };
  next();
}
