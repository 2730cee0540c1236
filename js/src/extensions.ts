// What two peers of ours say beyond protocol 1: notifications with reserved names, which old peers drop. But for the
// hello they are sent only to a peer that said that it acts on them.
import type { Conn } from "./conn";
import { canceled, ErrInvalidMsg } from "./errors";
import { binary, MsgTypeStreamReqPart, toBytes, toText } from "./protocol";
import type { Sock } from "./sock";
import type { Data } from "./types";

/** How many bytes of a stream may be under way to us, in each direction, that nobody has consumed yet. */
export const window = 262144;

/** How long messages that need to know what the peer can do wait for its hello, in milliseconds. */
export const helloWait = 100;

export const maxSize = 16384; // bytes, of any of these messages

/** What we can do. split is the size of the parts of large payloads that we like to get. */
export const hello = JSON.stringify({
  cancel: 1, credit: window, error: 1, goaway: 1, join: 1, meta: 1, split: 65536,
});

function parse(b: Uint8Array, at?: number): any {
  const text = toText(b.subarray(at));
  if (b.length > maxSize || !/^\s*{/.test(text)) throw ErrInvalidMsg;
  return JSON.parse(text);
}

/** Takes an extension message. Throws if it makes no sense. */
export function onExtension(s: Sock<any>, conn: Conn, name: string, data: Data): void {
  if (s.noExtensions) return;
  const b = toBytes(data || "");
  const head = String.fromCharCode(...b.slice(0, 4));
  if (name == "gotalk:hello") {
    conn._peer = parse(b);
    s._learn(conn, (conn._peer as any).credit);
  }
  // A peer that has not said hello does not mean what we would understand.
  if (!conn._peer) return;
  if (name == "gotalk:cancel") {
    if (b.length != 4) throw ErrInvalidMsg;
    s._served.get(head)?._finish(canceled());
  } else if (name == "gotalk:credit") {
    // Its payload is like the header of a message: p for parts of a request of ours, S for results of ours.
    const { t, id, size } = binary.parseMsg(b);
    if (b.length != 13 || !"pS".includes(head[0]!)) throw ErrInvalidMsg;
    (t == MsgTypeStreamReqPart ? s._pending : s._served).get(id!)?._pump?.(size);
  } else if (name == "gotalk:meta") {
    conn._meta = [head, parse(b, 4)];
  } else if (name == "gotalk:goaway") {
    conn._away = parse(b);
    s._drain();
  }
}
