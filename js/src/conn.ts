import { ErrInvalidMsg, ErrUnsupported, protocolError, type ProtocolError } from "./errors";
import {
  binary, concat, MsgTypeHeartbeat, MsgTypeProtocolError, parse, toBytes, toText, utf8, versionText, type Header,
} from "./protocol";

/** A payload on its way out: what the user gave, for a WebSocket message of its own, and the same as bytes. */
export interface Body {
  _data: string | Uint8Array<ArrayBuffer>;
  _bytes: Uint8Array<ArrayBuffer>;
}

// Joined messages are sent when they reach this size, and payloads above it are not copied.
const maxBatch = 65536;

/**
 * One WebSocket: messages in and out, nothing about what they mean. A Sock makes one for each connection and so can
 * tell what belongs to an earlier one.
 */
export class Conn {
  /** The version was sent and no close is under way. */
  _open = false;
  /** It was open at some time. */
  _wasOpen = false;
  /** Messages are handed on, not only kept. */
  _reading = false;
  /** Headers are sent in text messages. */
  _text = false;
  /** Why the connection is being closed, if a peer broke the protocol. Nothing is read any more. */
  _err?: ProtocolError;
  /** What the peer said in its hello. */
  _hello?: Record<string, unknown>;
  /** The peer takes several messages in one WebSocket message. */
  _join?: boolean;
  /** Runs while a sign of life is awaited. */
  _probe?: ReturnType<typeof setTimeout>;
  _timer?: ReturnType<typeof setTimeout>;
  /** When the last heartbeat was sent. */
  _beatAt = Date.now();
  /** Tells open() that the connection could not be made. */
  _failed?: (err: Error) => void;

  // Incoming messages that were not parsed yet, and what was parsed of the byte stream that they make.
  private _in: unknown[] = [];
  private _busy = false;
  private _version = false;
  private _head?: Header;
  private _rest: Uint8Array[] = [];
  private _size = 0;

  private _batch: Uint8Array[] = [];
  private _batched = 0;

  constructor(
    readonly _ws: WebSocket,
    private _onVersion: () => void,
    private _onMsg: (h: Header, payload?: string | Uint8Array<ArrayBuffer>) => void,
  ) {
    _ws.binaryType = "arraybuffer";
  }

  /** Sends a message: at once as one WebSocket message for the header and one for the payload, or joined with others. */
  _send(header: Uint8Array<ArrayBuffer>, body?: Body): void {
    if (this._join && !this._text) {
      this._push(header);
      if (body) this._push(body._bytes);
    } else {
      const s = this._text && toText(header);
      // An id chosen by the peer need not be text; such a header is sent as bytes.
      this._ws.send(s && !s.includes("\ufffd") ? s : header);
      if (body) this._ws.send(body._data);
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
    const all = concat(this._batch, this._batched);
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
    this._close(4000 + (code < 1000 ? code : ErrInvalidMsg.code)); // close codes end at 4999
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
      while (this._in.length && this._reading && !this._err) this._feed(this._in.shift());
    } catch {
      this._closeError(ErrInvalidMsg.code);
    }
    this._busy = false;
  }

  /** Takes the next piece of the byte stream. Throws if it makes no sense. */
  private _feed(data: unknown): void {
    const b = typeof data == "string" ? utf8(data) : toBytes(data as ArrayBuffer);
    let h = this._head;
    if (h && !this._size && b.length == h.size) {
      // A payload in a WebSocket message of its own is handed on as what it came.
      this._head = undefined;
      this._onMsg(h, typeof data == "string" ? data : b);
      return;
    }
    this._rest.push(b);
    this._size += b.length;
    if (h && this._size < h.size) return; // do not copy a long payload at every piece of it
    const all = this._rest.length > 1 ? concat(this._rest, this._size) : b;
    let at = 0;
    while (this._reading && !this._err) {
      h = this._head;
      if (!this._version) {
        if (all.length < 2) break;
        at = 2;
        if (toText(all.subarray(0, at)) != versionText) return this._closeError(ErrUnsupported.code);
        this._version = true;
        this._onVersion();
      } else if (h) {
        if (all.length - at < h.size) break;
        this._head = undefined;
        this._onMsg(h, all.slice(at, (at += h.size)));
      } else {
        const next = at < all.length && parse(all, at);
        if (!next) break;
        at = next._end;
        if (next.size && next.t != MsgTypeHeartbeat && next.t != MsgTypeProtocolError) this._head = next;
        else this._onMsg(next);
      }
    }
    this._rest = at < all.length ? [all.subarray(at)] : [];
    this._size = all.length - at;
  }
}
