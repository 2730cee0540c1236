// The wire format: pure functions between messages and bytes. Ids are strings of four characters, one a byte.
import type { Payload } from "./types";

export const MsgTypeSingleReq = 0x72; // r: id 4, name size 3, name, size 8
export const MsgTypeStreamReq = 0x73; // s: id 4, name size 3, name, size 8
export const MsgTypeStreamReqPart = 0x70; // p: id 4, size 8; size 0 ends the stream
export const MsgTypeSingleRes = 0x52; // R: id 4, size 8
export const MsgTypeStreamRes = 0x53; // S: id 4, size 8; size 0 ends the stream
export const MsgTypeErrorRes = 0x45; // E: id 4, size 8
export const MsgTypeRetryRes = 0x65; // e: id 4, wait in milliseconds 8, size 8
export const MsgTypeNotification = 0x6e; // n: name size 3, name, size 8
export const MsgTypeHeartbeat = 0x68; // h: load 4, unix seconds 8
export const MsgTypeProtocolError = 0x66; // f: code 8
export const HeartbeatMsgMaxLoad = 0xffff;
const Version = 1;

/** A message header. For a heartbeat, wait is the load and size the time; for a protocol error, size is the code. */
export interface Header {
  t: number;
  id?: string;
  name?: string;
  wait: number;
  size: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export const utf8 = (s: string): Uint8Array<ArrayBuffer> => encoder.encode(s);

/** The text of a payload. What is not UTF-8 comes out as U+FFFD. */
export const toText = (b: string | Uint8Array | undefined): string =>
  typeof b == "string" ? b : decoder.decode(b);

/** The bytes of a string, or of any BufferSource without copying them. */
export function toBytes(v: any): Uint8Array<ArrayBuffer> {
  if (typeof v == "string") return utf8(v);
  if (v?.byteLength >= 0) return new Uint8Array(v.buffer || v, v.byteOffset, v.byteLength);
  throw TypeError("payload is not a string or BufferSource");
}

/** A payload on its way out, not empty. A string travels as a text message if it has a WebSocket message of its own. */
export type Body = string | Uint8Array<ArrayBuffer> | undefined;

/** Undefined for an empty payload. Throws a TypeError for what is neither a string nor a BufferSource. */
export function pack(v: Payload): Body {
  const b = typeof v == "string" ? v : toBytes(v ?? "");
  if (b.length) return b;
  return;
}

export function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

function fixnum(n: number, digits: number): string {
  const s = n.toString(16);
  if (n >>> 0 != n || s.length > digits) throw RangeError(n + " is out of range");
  return s.padStart(digits, "0");
}

function makeMsg(t: number, id?: string | null, name?: string | null, wait = 0, size = 0): string {
  return (
    String.fromCharCode(t) +
    (id || "") +
    (name == null ? "" : fixnum(utf8(name).length, 3) + name) +
    (t == MsgTypeRetryRes ? fixnum(wait, 8) : "") +
    fixnum(size, 8)
  );
}

function makeHeartbeatMsg(load: number): string {
  return "h" + fixnum(load, 4) + fixnum((Date.now() / 1000) >>> 0, 8);
}

function hex(s: string): number {
  if (/[^\da-f]/i.test(s)) throw Error("invalid hexint " + s);
  return parseInt(s, 16);
}

/**
 * Parses a header: yields how many bytes it wants next, is given them, and returns the header. Throws if a number is
 * malformed. A type that does not exist is parsed like a result.
 */
export function* parser(): Generator<number, Header, string | Uint8Array<ArrayBuffer>> {
  const ascii = (v: string | Uint8Array<ArrayBuffer>) => String.fromCharCode(...toBytes(v));
  const type = ascii(yield 1);
  return {
    t: type.charCodeAt(0),
    id: "nhf".includes(type) ? undefined : ascii(yield 4),
    name: "rsn".includes(type) ? toText(yield hex(ascii(yield 3))) : undefined,
    wait: type == "e" ? hex(ascii(yield 8)) : type == "h" ? hex(ascii(yield 4)) : 0,
    size: hex(ascii(yield 8)),
  };
}

/** Parses a header in one piece, for users of protocol.binary and protocol.text. */
function parseMsg(v: string | BufferSource): Header {
  const b = toBytes(v);
  const p = parser();
  let at = 0;
  let r = p.next("");
  while (!r.done) r = p.next(b.subarray(at, (at += r.value)));
  if (!(at <= b.length)) throw Error("incomplete message");
  return r.value;
}

/** The version that a conversation starts with. Throws unless v is hex digits. */
const parseVersion = (v: string | BufferSource): number => hex(toText(v as any).slice(0, 2));

export const versionText = fixnum(Version, 2);

/** Headers as bytes, in binary WebSocket messages. The default. */
export const binary = {
  versionBuf: utf8(versionText),
  makeFixnum: (n: number, digits: number) => utf8(fixnum(n, digits)),
  parseVersion,
  parseMsg,
  /** Throws a RangeError if the name has more than 4095 bytes, or a number does not fit. */
  makeMsg(t: number, id?: string | null, name?: string | null, wait?: number, size?: number): Uint8Array<ArrayBuffer> {
    // Ids are bytes, not text: they are put in behind the encoder's back.
    const b = utf8(makeMsg(t, id && "    ", name, wait, size));
    b.set(Array.from(id || "", (c) => c.charCodeAt(0)), 1);
    return b;
  },
  makeHeartbeatMsg: (load: number) => utf8(makeHeartbeatMsg(load)),
};

/** Headers as strings, in text WebSocket messages, for networks and tools that know nothing else. */
export const text = {
  versionBuf: versionText,
  makeFixnum: fixnum,
  parseVersion,
  parseMsg,
  makeMsg,
  makeHeartbeatMsg,
};

export type Protocol = typeof binary | typeof text;

/** The message types, as character codes, the codes of protocol errors, and the two ways to write headers. */
export const protocol = {
  Version,
  MsgTypeSingleReq,
  MsgTypeStreamReq,
  MsgTypeStreamReqPart,
  MsgTypeSingleRes,
  MsgTypeStreamRes,
  MsgTypeErrorRes,
  MsgTypeRetryRes,
  MsgTypeNotification,
  MsgTypeHeartbeat,
  MsgTypeProtocolError,
  ErrorAbnormal: 0,
  ErrorUnsupported: 1,
  ErrorInvalidMsg: 2,
  ErrorTimeout: 3,
  HeartbeatMsgMaxLoad,
  binary,
  text,
};
