import type { Extra } from "./calls";
import { call, ErrInvalidMsg, ErrUnsupported, protocolError, type ProtocolError } from "./errors";
import {
  binary, concat, MsgTypeNotification, MsgTypeProtocolError, MsgTypeSingleReq, parser, toBytes, toText, versionText,
  type Body,
} from "./protocol";
import type { Sock } from "./sock";
import { sendParts } from "./split";

// Joined messages are sent when they reach this size, and payloads above it are not copied.
const maxBatch = 65536;

/**
 * One WebSocket: messages in and out, nothing about what they mean. A Sock makes one for each connection and so can
 * tell what belongs to an earlier one.
 */
export class Conn {
  /** The version was sent and no close is under way. */
  _open?: boolean;
  /** It was open at some time. */
  _wasOpen?: boolean;
  /** Messages are handed on, not only kept. */
  _reading?: boolean;
  /** Headers are sent in text messages. */
  _text?: boolean;
  /** Why the connection is being closed, if a peer broke the protocol. Nothing is read any more. */
  _err?: ProtocolError;
  /** What the peer said in its hello. */
  _peer?: Record<string, unknown>;
  /** How many bytes of a stream the peer takes before it has consumed any. Undefined until that is known. */
  _window?: number;
  /** The id of the next request, and what the peer said of it. */
  _meta?: [id: string, meta: Record<string, unknown>];
  /** The peer wants no more requests here. */
  _away?: { after_ms: number; jitter_ms: number };
  /** The peer answers heartbeats: it said hello and has sent one. */
  _answers?: boolean;
  /** Runs while a sign of life is awaited. */
  _probe?: ReturnType<typeof setTimeout>;
  _timer?: ReturnType<typeof setTimeout>;
  /** When the last heartbeat was sent. */
  _beatAt = Date.now();
  /** How many payloads are leaving in parts. */
  _leaving = 0;
  /** Tells open() that the connection could not be made. */
  _failed?: ((err: Error) => void) | null;

  // Incoming WebSocket messages that were not looked at yet; bytes that the parser has not taken, and how many it wants.
  private _in: unknown[] = [];
  private _busy?: boolean;
  private _rest: Uint8Array<ArrayBuffer>[] = [];
  private _size = 0;
  private _parser = this._parse();
  private _want = this._parser.next("").value;

  private _batch: Uint8Array[] = [];
  private _batched = 0;

  constructor(readonly _ws: WebSocket, private _sock: Sock<any>) {
    _ws.binaryType = "arraybuffer";
  }

  /** Says whether the peer can do what a key of its hello stands for. */
  _can(key: string): boolean {
    return key in (this._peer || {});
  }

  /** Sends a message, and before it what the peer is to know of it. Large payloads of requests and results leave in parts. */
  _write(
    t: number, id: string | null, name?: string | null, body?: Body, wait?: number,
    { meta, deadline }: Partial<Extra> = {}, owner?: any,
  ): void {
    const b = toBytes(body || "");
    const most = (this._peer?.split as any) >>> 0;
    const parts = most && b.length > most && (t | 32) == MsgTypeSingleReq; // r or R
    const json = JSON.stringify({
      // Says that the parts are of one payload. Metadata of the user's goes first.
      size: parts && t == MsgTypeSingleReq ? b.length : undefined,
      ...meta,
      timeout_ms: deadline && Math.max(1, Math.ceil(deadline - Date.now())),
    });
    if (json != "{}") this._say("meta", id + json);
    if (parts) sendParts(this._sock, this, owner, t, id!, name, b.slice(), most);
    else this._send(binary.makeMsg(t, id, name, wait, b.length), body);
  }

  /** Sends an extension message, if the peer acts on it, and says whether it does. */
  _say(name: string, body: Body): boolean {
    const can = this._can(name);
    if (can) this._write(MsgTypeNotification, null, "gotalk:" + name, body);
    return can;
  }

  /** Sends header and payload: at once, as one WebSocket message for each, or joined with others. */
  _send(header: Uint8Array<ArrayBuffer>, body?: Body): void {
    if (this._can("join") && !this._text) {
      this._push(header);
      if (body?.length) this._push(toBytes(body));
    } else {
      const s = toText(header);
      // An id chosen by the peer need not be text; such a header is sent as bytes.
      this._ws.send(this._text && !s.includes("\ufffd") ? s : header);
      if (body?.length) this._ws.send(body);
    }
  }

  private _push(b: Uint8Array<ArrayBuffer>): void {
    if (b.length > maxBatch) {
      this._flush();
      this._ws.send(b);
      return;
    }
    if (!this._batched) queueMicrotask(() => this._flush());
    this._batch.push(b.slice()); // the user may change it before the flush
    this._batched += b.length;
    if (this._batched >= maxBatch) this._flush();
  }

  private _flush(): void {
    const all = concat(this._batch);
    this._batch = [];
    this._batched = 0;
    if (all.length && this._ws.readyState == 1) this._ws.send(all);
  }

  _close(code: number): void {
    this._flush();
    this._open = false;
    this._ws.close(code);
  }

  /** Tells the peer that it, or we, broke the protocol, and closes. */
  _closeError(code: number): void {
    this._send(binary.makeMsg(MsgTypeProtocolError, null, null, 0, code));
    this._broken(code);
  }

  /** Closes for a protocol error that both sides know of. */
  _broken(code: number): void {
    this._err = protocolError(code);
    this._close(4000 + (code < 1000 ? code : 2)); // invalid message; close codes end at 4999
  }

  /** Ends the wait for a sign of life. */
  _alive(): void {
    clearTimeout(this._probe);
    this._probe = undefined;
  }

  _receive(data: unknown): void {
    this._in.push(data);
    this._pump();
  }

  /** Takes what was received. A call from within, by a WebSocket that answers at once, leaves it to the one at work. */
  _pump(): void {
    if (this._busy) return;
    this._busy = true;
    try {
      while (this._in.length && this._reading && !this._err) this._feed(this._in.shift() as string | ArrayBuffer);
    } catch (err) {
      this._closeError(err == ErrUnsupported ? 1 : 2); // unsupported, or invalid message
    }
    this._busy = undefined;
  }

  /** Gives the next piece of the byte stream to the parser. Throws if it makes no sense. */
  private _feed(data: string | ArrayBuffer): void {
    const b = toBytes(data);
    this._rest.push(b);
    this._size += b.length;
    for (let n: number; this._size >= (n = this._want) && this._reading && !this._err; ) {
      const all = this._rest.length == 1 ? this._rest[0]! : concat(this._rest);
      this._size -= n;
      this._rest = this._size ? [all.subarray(n)] : [];
      // A payload in a WebSocket message of its own is handed on as what it came.
      const own = all == b && !this._size;
      this._want = this._parser.next(own ? (typeof data == "string" ? data : b) : all.slice(0, n)).value;
    }
  }

  private *_parse(): Generator<number, never, string | Uint8Array<ArrayBuffer>> {
    if (toText(yield 2) != versionText) throw ErrUnsupported;
    call(() => this._sock.startSendingHeartbeats());
    for (;;) {
      const h = yield* parser();
      const type = String.fromCharCode(h.t);
      if (!"rspRSEenhf".includes(type)) throw ErrInvalidMsg;
      this._sock._onMsg(this, h, h.size && !"hf".includes(type) ? yield h.size : undefined);
    }
  }
}
