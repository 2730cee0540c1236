// A scripted WebSocket: a test plays the server. Nothing happens by itself.
import { Buffer } from "node:buffer";

export const latin1 = (b) => Buffer.from(b).toString("latin1");
export const bytes = (s) => new Uint8Array(Buffer.from(s, "latin1"));

export class FakeWebSocket {
  static all = [];
  static last() {
    return FakeWebSocket.all.at(-1);
  }

  readyState = 0;
  binaryType = "blob";
  /** How often something was to be sent after the close: browsers complain of that. */
  late = 0;
  /** How many bytes the network has not taken yet; a test may say so. */
  bufferedAmount = 0;
  /** What was sent: strings as strings, binary messages as Uint8Array, a close as {close: code}. */
  sent = [];
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  constructor(url) {
    if (url == "bad:") throw new SyntaxError("bad url");
    this.url = url;
    FakeWebSocket.all.push(this);
  }

  send(data) {
    if (this.readyState == 0) throw new Error("still connecting");
    if (this.readyState > 1) return void this.late++;
    if (typeof data == "string") this.sent.push(data);
    else this.sent.push(new Uint8Array(data.buffer ? data.slice() : data));
    this.answer?.(data);
  }

  close(code) {
    if (code !== undefined && code != 1000 && !(code >= 3000 && code < 5000)) throw new Error("invalid close code " + code);
    if (this.readyState > 1) return;
    this.readyState = 2;
    this.sent.push({ close: code });
  }

  // What the server and the network do.

  open() {
    this.readyState = 1;
    this.onopen?.({});
    return this;
  }

  /** One WebSocket message: a string is a text message, anything else a binary one. */
  text(s) {
    this.onmessage?.({ data: s });
    return this;
  }

  /** A binary message for each argument; characters are bytes. */
  bin(...all) {
    for (const s of all) {
      const b = typeof s == "string" ? bytes(s) : s;
      this.onmessage?.({ data: b.buffer.slice(b.byteOffset, b.byteOffset + b.length) });
    }
    return this;
  }

  closed(code = 1000, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
    return this;
  }

  /** All that was sent since the last call, as text: bytes as characters, text messages in quotes. */
  take() {
    return this.sent.splice(0).map((m) =>
      typeof m == "string" ? JSON.stringify(m) : m instanceof Uint8Array ? latin1(m) : "close " + m.close);
  }

  /** The same without heartbeats. */
  takeMessages() {
    return this.take().filter((m) => !/^h[0-9a-f]{12}$/.test(m));
  }
}
