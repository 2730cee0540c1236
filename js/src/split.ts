// Large payloads leave in parts, if the peer puts those together, so that small messages pass between them: a request as
// a streaming request, a result as streaming results.
import type { Conn } from "./conn";
import { window } from "./extensions";
import { binary, MsgTypeStreamReq, MsgTypeStreamReqPart, MsgTypeStreamRes } from "./protocol";
import type { Sock } from "./sock";

/** Sends the payload b of a request or a result of owner's in parts of size bytes, until that is cancelled or over. */
export function sendParts(
  s: Sock<any>, conn: Conn, owner: any, request: boolean, id: string, name: string | null | undefined,
  b: Uint8Array<ArrayBuffer>, size: number,
): void {
  const rest = request ? MsgTypeStreamReqPart : MsgTypeStreamRes;
  let at = 0;
  // A result, too, is pending, so that nothing is closed before its end.
  const key = request ? id : "S" + id;
  s._pending.set(key, owner);
  const send = (t: number, name?: string | null): void => {
    // The request was cancelled or answered. A peer that could not be told of the cancel would wait for the rest for ever.
    if (s._pending.get(key) != owner && conn._can("cancel")) return;
    if (conn._open) {
      // A result that is cancelled still has to be ended.
      const part = owner._ended ? undefined : b.subarray(at, (at += size));
      conn._send(binary.makeMsg(t, id, name, 0, part?.length), part);
      if (part?.length) {
        // Unlike those of timers, its tasks come at once, and in hidden pages too.
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
          port1.close();
          look();
        };
        return port2.postMessage(0);
      }
    }
    if (!request) s._pending.delete(key);
    s._drain();
  };
  // Goes on when the network has taken most of what was sent.
  const look = (): unknown =>
    conn._open && conn._ws.bufferedAmount > window ? setTimeout(look, 10) : send(rest);
  send(request ? MsgTypeStreamReq : rest, name);
}
