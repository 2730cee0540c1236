// Conversations recorded from gotalk.js 1.2.1 and gotalk 1.3.7: ours must send the same WebSocket messages, byte for
// byte, with the same opcodes and close codes, and hand the same results to its user. Where a recording is marked as
// a bug of the old one, what ours does instead is spelled out.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { FakeWebSocket } from "./fake.mjs";
import { gotalk } from "./load.mjs";

const vectors = new URL("../../testdata/vectors/", import.meta.url);
const turn = () => new Promise(setImmediate);
const show = (v) => (v instanceof Uint8Array ? "bytes:" + [...v] : v);
const textOf = (v) => (v == null ? "none" : typeof v == "string" ? "string " + v : "bytes " + Buffer.from(v));

// Each plays the user of an open Sock s. out takes the results; idle() waits until the recording goes on with something
// that the client sent of itself.
const users = {
  "ws-handshake": {},
  "ws-bidirectional": {
    setup(h) {
      h.handleBufferRequest("jecho", (buf, result) => result("js saw it"));
      h.handleBufferRequest("jbin", (buf, result) => result(buf));
      h.handleBufferRequest("jfail", (buf, result) => result.error(new Error("js refuses")));
      h.handleBufferRequest("jthrow", (buf, result) => { throw new Error("secret"); });
      h.handleBufferRequest("jnone", (buf, result) => result());
    },
    async run(s, out, idle) {
      s.handlers.handleBufferNotification("askresult", (buf) => out.push(String(Buffer.from(buf))));
      for (const op of ["jecho", "jbin", "jfail", "jthrow", "jnone", "jmissing"]) {
        s.bufferNotify("askback", op);
        await idle();
      }
    },
  },
  "ws-close-by-server": { closes: true, run: (s) => s.notify("closeme") },
  ...Object.fromEntries([0, 1, 2, 3].map((code) =>
    ["ws-closeerror-" + code, { closes: "code", run: (s) => s.bufferNotify("closeme", String(code)) }])),
  "ws-end-idle": { closes: true },
  "ws-end-pending": {
    async run(s, out) {
      const closed = [];
      s.on("close", (err) => closed.push(String(err)));
      const p = s.bufferRequest("delay", "150:x");
      s.end();
      out.push(show(await p), closed);
    },
  },
  "ws-errors": {
    async run(s, out) {
      const fails = (p) => p.then((v) => out.push(v), (err) => out.push("ERR " + err.message));
      await fails(s.bufferRequest("fail"));
      await fails(s.bufferRequest("failempty"));
      await fails(s.request("nope", 1));
      await fails(s.bufferRequest("panic"));
      await fails(s.request("greet", 5));
    },
  },
  "ws-heartbeat": {
    setup(h, s, out) {
      s.heartbeatInterval = 100;
      s.on("heartbeat", ({ time, load }) => {
        assert.ok(time instanceof Date && load == 0);
        out[0] = (out[0] ?? 0) + 1;
      });
    },
    run(s) {
      s.sendHeartbeat(0.5);
      s.sendHeartbeat(1);
    },
  },
  "ws-interleaved": {
    async run(s, out) {
      const take = (label, p) => p.then((r) => out.push(label + Buffer.from(r)));
      await Promise.all([
        ...["300:A", "200:B", "100:C"].map((v) => take(v.slice(0, 4), s.bufferRequest("delay", v))),
        take("", s.bufferRequest("echo", "D")),
      ]);
    },
  },
  "ws-notifications": {
    async run(s, out, idle) {
      s.handlers.handleBufferNotification("raw", (buf) => out.push("raw:" + [...buf]));
      s.handlers.handleBufferNotification("none", (buf) => out.push("none:" + textOf(buf)));
      s.handlers.handleNotification("json", (v) => out.push("json:" + JSON.stringify(v)));
      s.notify("njson", { x: 1 });
      s.bufferNotify("note", "raw");
      s.bufferNotify("note", new Uint8Array([1, 2]));
      s.bufferNotify("note");
      s.notify("nobody", 1);
      s.bufferNotify("push");
      await idle();
    },
  },
  "ws-read-timeout": { setup: (h, s) => (s.heartbeatInterval = 0), closes: "code" },
  "ws-read-timeout-heartbeat": { setup: (h, s) => (s.heartbeatInterval = 400), closes: true },
  "ws-request-buffer": {
    async run(s, out) {
      out.push(show(await s.bufferRequest("echo", new Uint8Array([0, 1, 10, 128, 255]))));
      out.push(show(await s.bufferRequest("echo", "plain string")));
      out.push(String(await s.bufferRequest("echo")));
    },
  },
  "ws-request-ids": {
    async run(s) {
      for (let i = 0; i < 40; i++) await s.bufferRequest("echo");
    },
  },
  "ws-request-json": {
    async run(s, out) {
      out.push(await s.request("greet", "Bob"), await s.request("sum", [1, 2, 3]));
      await s.request("greet").catch((err) => out.push("ERR " + err.message));
    },
  },
  "ws-request-name-4095": { run: async (s, out) => out.push(show(await s.bufferRequest("n".repeat(4095), "x"))) },
  "ws-request-payload-70000": {
    async run(s, out) {
      const v = "0123456789".repeat(7000);
      const r = await s.bufferRequest("echo", v.slice(0, 0x11170));
      assert.equal(Buffer.from(r).toString(), v);
    },
  },
  "ws-request-utf8": {
    async run(s, out) {
      out.push(show(await s.bufferRequest("grüße/☃", "é☃")), await s.request("greet", "Zoë ☃"));
    },
  },
  "ws-result-nil-and-null": {
    async run(s, out) {
      out.push(await s.request("nilresult"), String(await s.bufferRequest("nilresult")), await s.request("jsonnull"));
    },
  },
  "ws-stream-disabled": { run: (s, out, idle) => streams(s, out, idle, "secho", ["x"]) },
  "ws-stream-handler-error": { run: (s, out, idle) => streams(s, out, idle, "sfail", ["x"]) },
  "ws-stream-echo": {
    async run(s, out, idle) {
      for (let i = 0; i < 2; i++) await streams(s, out, idle, "secho", ["one", new Uint8Array([2, 0, 255])], true);
    },
  },
  "ws-text-protocol": {
    setup: (h, s) => (s.protocol = gotalk.protocol.text),
    async run(s, out) {
      out.push(await s.request("greet", "Bob"), show(await s.bufferRequest("echo", "plain")));
      s.notify("note", 1);
    },
  },
  "ws-reconnect": {
    connect: (s) => s.openKeepAlive("ws://test/"),
    async run(s, out, idle) {
      out.push("open", show(await s.bufferRequest("echo", "first")));
      s.on("close", (err) => out.push("close:" + err));
      const again = new Promise((resolve) => s.once("open", resolve));
      s.bufferNotify("closeme");
      await again;
      out.push("open");
      await idle();
      out.push(show(await s.bufferRequest("echo", "second")));
    },
  },
};

async function streams(s, out, idle, op, chunks, end) {
  const r = s.streamRequest(op);
  const ended = new Promise((resolve) => r.on("end", resolve).on("end", (err) => out.push("end:" + err)));
  r.on("data", (b) => out.push("data:" + [...b]));
  for (const c of chunks) r.write(c);
  await idle();
  if (end) r.end();
  await ended;
}

// What ours does instead of what was recorded, where that was a bug. All else of these recordings must hold.
const better = { "ws-closeerror-0": ["Error: abnormal condition code=0"] };

// Conversations with a prober: what the old one did, or if that was a bug, what ours does instead.
const orderly = ["close 1000"];
const probes = {
  "ws-probe-bad-size-hex": { results: ["close:Error: invalid protocol message code=2"], sends: ["f00000002", "close 4002"] },
  "ws-probe-header-payload-coalesced": { results: ["a:bytes hello", "b:none", "close:null code=null"], sends: orderly },
  "ws-probe-payload-split": { results: ["a:bytes hello", "b:none", "close:null code=null"], sends: orderly },
  "ws-probe-two-headers-coalesced": { results: ["a:none", "b:none", "close:null code=null"], sends: orderly },
  "ws-probe-version-garbage": { results: ["close:Error: unsupported protocol code=1"], sends: ["f00000001", "close 4001"] },
  "ws-probe-version-header-coalesced": { results: ["a:bytes hello", "b:none", "close:null code=null"], sends: orderly },
};

// Where even the course of the conversation is another: tested below, message by message.
const others = ["ws-retry-limit", "ws-server-stream-request"];

// A message of the recording as FakeWebSocket.take shows it, volatile parts masked.
function expected(ev) {
  if (ev.kind == "ws_close") return "close " + ev.close_code;
  const b = Buffer.from(ev.bytes_b64, "base64");
  for (const v of ev.volatile ?? []) b.fill(".", v.off, v.off + v.len);
  return ev.opcode == 1 ? JSON.stringify(b.toString()) : b.toString("latin1");
}
function masked(got, ev) {
  for (const v of ev.volatile ?? []) {
    const off = v.off + (ev.opcode == 1);
    got = got.slice(0, off) + ".".repeat(v.len) + got.slice(off + v.len);
  }
  return got;
}

const recording = (name) => JSON.parse(readFileSync(new URL(name + ".json", vectors), "utf8"));
const names = readdirSync(vectors).filter((f) => f.startsWith("ws-")).map((f) => f.slice(0, -5));

test("every recording is played, and every other outcome stands for a bug", () => {
  assert.deepEqual(names.toSorted?.() ?? names, [...Object.keys(users), ...names.filter((n) => n.startsWith("ws-probe-")), ...others].sort());
  for (const name of [...Object.keys(better), ...Object.keys(probes), ...others]) assert.ok(recording(name).upstream_bug, name);
});

function start(t, user, out) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  FakeWebSocket.all = [];
  const h = gotalk.Handlers();
  const s = gotalk.Sock({ handlers: h, WebSocket: FakeWebSocket, noExtensions: true });
  user?.setup?.(h, s, out);
  t.after(() => s.end());
  return s;
}

function deliver(ws, ev) {
  const b = Buffer.from(ev.bytes_b64, "base64");
  if (ev.kind == "ws_close") ws.closed(ev.close_code);
  else if (ev.opcode == 1) ws.text(b.toString());
  else ws.bin(b);
  return turn();
}

for (const [name, user] of Object.entries(users)) {
  test(name, async (t) => {
    const rec = recording(name);
    const out = [];
    const s = start(t, user, out);
    if (user.closes) s.on("close", (err) => out.push(user.closes == "code" ? `${err} code=${err.code}` : String(err)));

    // The user acts beside the recording, beginning when the client is idle for the first time.
    let wake = null;
    const idle = () => new Promise((resolve) => (wake = resolve));
    let done = false;
    const play = idle().then(() => user.run?.(s, out, idle)).then(() => (done = true));
    if (user.connect) user.connect(s);
    else s.open("ws://test/");

    let ws, conn, sent, serverClosed;
    for (const ev of rec.events.filter((ev) => !/^(http|tcp)/.test(ev.kind))) {
      if ((ev.conn ?? 1) != conn) {
        conn = ev.conn ?? 1;
        sent = [];
        serverClosed = false;
        for (let i = 0; FakeWebSocket.all.length < conn && i < 6000; i++) t.mock.timers.tick(1);
        ws = FakeWebSocket.all[conn - 1].open();
      }
      if (ev.from == "server") {
        serverClosed ||= ev.kind == "ws_close";
        await deliver(ws, ev);
        continue;
      }
      // Time passes only for a heartbeat that the client sends of itself, so nothing else is sent by the way.
      const beat = ev.decoded?.type == "h" && !ev.decoded.load;
      for (let i = 0; i < 25000; i++) {
        sent.push(...ws.take());
        if (sent.length) break;
        if (beat) t.mock.timers.tick(1);
        else if (wake) wake = void wake();
        else if (done && ev.kind == "ws_close") {
          if (serverClosed) break; // the answer to that is the browser's
          s.end();
        }
        await turn();
      }
      if (!sent.length && ev.kind == "ws_close" && serverClosed) continue;
      assert.equal(masked(sent.shift() ?? "nothing", ev), expected(ev), "event " + ev.seq);
    }
    wake?.();
    await play;
    assert.deepEqual([...sent, ...ws.take()], [], "more than was recorded");
    const want = better[name] ?? rec.js_result;
    if (name == "ws-request-payload-70000") return; // js_result is the length of a text about it
    if (want != null) assert.deepEqual(out.length == 1 && !Array.isArray(want) ? out[0] : out, want);
  });
}

for (const name of names.filter((n) => n.startsWith("ws-probe-"))) {
  test(name, async (t) => {
    const rec = recording(name);
    const s = start(t);
    s.heartbeatInterval = 0;
    const out = [];
    s.handlers.handleBufferNotification("", (buf, name) => out.push(`${name}:${textOf(buf)}`));
    s.on("close", (err) => out.push(`close:${err} code=${err && err.code}`));
    s.open("ws://test/");
    const ws = FakeWebSocket.last().open();
    const client = rec.events.filter((ev) => ev.from == "client" && !/^(http|tcp)/.test(ev.kind));
    const server = rec.events.filter((ev) => ev.from == "server" && !/^(http|tcp)/.test(ev.kind));
    const first = server.some((ev) => ev.kind == "ws_close" && ev.seq < client.at(-1).seq);
    for (const ev of server) if (ev.kind != "ws_close" || first) await deliver(ws, ev);
    if (ws.readyState == 1) s.end();
    const sends = ws.take();
    ws.closed(1000);
    const echo = first ? -1 : undefined; // the browser answers a close by itself
    assert.deepEqual(sends, probes[name] ? ["01", ...probes[name].sends] : client.slice(0, echo).map(expected));
    const results = (probes[name]?.results ?? rec.js_result).map((r) => r.replace("code=undefined", "code=" + undefined));
    assert.deepEqual(out, results);
  });
}

test("ws-retry-limit: the request is sent again after the wait", async (t) => {
  const s = start(t);
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01");
  const a = s.bufferRequest("delay", "200:A");
  const b = s.bufferRequest("echo", "B");
  assert.deepEqual(ws.take(), ["01", "r0000005delay00000005", '"200:A"', "r0001004echo00000001", '"B"']);
  ws.bin("e000100000fd600000012", "request rate limit", "R000000000001", "A");
  assert.equal(String(Buffer.from(await a)), "A");
  t.mock.timers.tick(0xfd5);
  assert.deepEqual(ws.takeMessages(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(ws.takeMessages(), ["r0002004echo00000001", '"B"']);
  ws.bin("R000200000001", "B");
  assert.equal(String(Buffer.from(await b)), "B");
});

test("ws-server-stream-request: it is refused, and the connection stays", (t) => {
  const s = start(t);
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", "s\0\0\0\x00008jsstream00000005", "part1", "p\0\0\0\x0000000001", "x");
  assert.deepEqual(ws.take(), ["01", "E\0\0\0\x000000001c", JSON.stringify('no such operation "jsstream"')]);
});
