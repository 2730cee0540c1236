// Connections that begin, end, break and come back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeWebSocket } from "./fake.mjs";
import { connected, gotalk, hello, sock, turn, uncaught } from "./kit.mjs";

const { ErrAbnormal, ErrInvalidMsg, ErrTimeout, ErrUnsupported } = gotalk;
const count = () => FakeWebSocket.all.length;

/** Records what the events of s say. */
function watch(s) {
  const log = [];
  s.on("open", () => log.push("open"));
  s.on("close", (err) => log.push("close " + (err && err.message)));
  return log;
}

test("protocol errors are shared objects with the old texts and codes", () => {
  const all = [ErrAbnormal, ErrUnsupported, ErrInvalidMsg, ErrTimeout];
  assert.deepEqual(all.map((e) => e.message), ["abnormal condition", "unsupported protocol", "invalid protocol message", "timeout"]);
  assert.deepEqual(all.map((e) => e.code), [0, 1, 2, 3]);
  assert.ok(all.every((e) => e instanceof Error && e.isGotalkProtocolError === true));
});

test("a connection that cannot be made: callback, no close event", async (t) => {
  const s = sock(t);
  const log = watch(s);
  for (const [code, text] of [[1006, "#1006 (abnormal)"], [1002, "#1002 (protocol error)"], [4321, "#4321"]]) {
    const errs = [];
    s.open("ws://test/", (...args) => errs.push(args));
    if (code == 1006) FakeWebSocket.last().onerror({}); // which is all that Node 22 calls
    else FakeWebSocket.last().closed(code);
    assert.equal(errs.length, 1);
    assert.equal(errs[0][0].message, "connection failed: " + text);
    assert.equal(s.ws, null);
  }
  assert.deepEqual(log, []);
});

test("a WebSocket that cannot be made: callback and close event", (t) => {
  const s = sock(t, {
    WebSocket: class {
      constructor() {
        throw new Error("bad address");
      }
    },
  });
  const log = watch(s);
  let err;
  s.open("ws://test/", (e) => (err = e));
  assert.equal(err.message, "bad address");
  assert.deepEqual(log, ["close bad address"]);
});

test("without a WebSocket the error says what to do", (t) => {
  const had = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = had));
  let err;
  gotalk.Sock().open("ws://test/", (e) => (err = e));
  assert.match(err.message, /no WebSocket: pass one as option/);
  globalThis.WebSocket = FakeWebSocket;
  const s = gotalk.open("ws://global/");
  assert.equal(FakeWebSocket.last().url, "ws://global/");
  s.end();
});

test("how a connection ended: close codes", async (t) => {
  for (const [code, want, reason] of [
    [1000, "null"], [1001, "websocket closed: #1001 (going away)"], [1002, "websocket closed: #1002 (protocol error)"],
    [1003, "websocket closed: #1003 (unsupported)"], [1004, "websocket closed: #1004"],
    [1005, "websocket closed: #1005 (no status)"], [1006, "websocket closed: #1006 (abnormal)"],
    [1007, "websocket closed: #1007 (inconsistent)"], [1008, "websocket closed: #1008 (invalid message)"],
    [1009, "websocket closed: #1009 (too large)"], [1011, "websocket closed: #1011"], [4002, "websocket closed: #4002"],
    [1001, "websocket closed: #1001 (going away)", "bye"], [4401, "websocket closed: #4401 (sign in first)", "sign in first"],
  ]) {
    const [s, ws] = connected(t);
    const log = watch(s);
    const pending = s.request("x");
    ws.closed(code, reason);
    assert.deepEqual(log, ["close " + want]);
    await assert.rejects(pending, { message: code == 1000 ? "connection closed" : want });
    assert.equal(s.ws, null);
    assert.equal(s.address(), null);
    t.mock.timers.reset();
  }
});

test("protocol errors from the peer, and those that are sent", async (t) => {
  for (const [code, err, close] of [
    ["00000000", ErrAbnormal, 4000], ["00000001", ErrUnsupported, 4001], ["00000002", ErrInvalidMsg, 4002],
    ["00000003", ErrTimeout, 4003], ["00000009", ErrInvalidMsg, 4009], ["000003e7", ErrInvalidMsg, 4999],
    ["000003e8", ErrInvalidMsg, 4002], ["80000000", ErrInvalidMsg, 4002], ["ffffffff", ErrInvalidMsg, 4002],
  ]) {
    const [s, ws] = connected(t);
    const pending = s.request("x");
    let closed;
    s.on("close", (e) => (closed = e));
    ws.take();
    ws.bin("f" + code, "n001a00000000");
    assert.deepEqual(ws.take(), ["close " + close]);
    ws.closed(1006);
    assert.equal(closed, err);
    assert.equal(await pending.catch((e) => e), err);
    t.mock.timers.reset();
  }
  const [s, ws] = connected(t);
  s.closeError(2);
  s.closeError(2);
  assert.deepEqual(ws.take(), ["f00000002", "close 4002"]);
});

test("versions", (t) => {
  for (const v of ["00", "02", "ff", "zz", "HTTP/1.1 400"]) {
    const s = sock(t).open("ws://test/");
    const ws = FakeWebSocket.last().open();
    ws.take();
    ws.bin(v, "n001a00000000");
    assert.deepEqual(ws.take(), ["f00000001", "close 4001"], v);
    let err;
    s.on("close", (e) => (err = e));
    ws.closed(4001);
    assert.equal(err, ErrUnsupported);
    t.mock.timers.reset();
  }
});

test("malformed messages are protocol errors, never exceptions", (t) => {
  for (const bad of ["Z", "R0000zzzzzzzz", "R0000+0000001", "n0x1a00000000", "h00", "e00000000000g", "\0".repeat(20), "f0000000g"]) {
    const [, ws] = connected(t);
    ws.bin(bad + "g".repeat(20), "n001a00000000");
    assert.deepEqual(ws.take(), ["f00000002", "close 4002"], JSON.stringify(bad));
    t.mock.timers.reset();
  }
});

test("end: at once, after what is pending, on the second call", async (t) => {
  let [s, ws] = connected(t);
  s.end();
  assert.deepEqual(ws.take(), ["close 1000"]);
  t.mock.timers.reset();

  [s, ws] = connected(t);
  const a = s.request("a");
  const b = s.request("b");
  s.end();
  const c = s.request("c"); // still accepted
  ws.take();
  ws.bin("R000000000000", "E000200000000");
  assert.deepEqual(ws.take(), []);
  ws.bin("R000100000000");
  assert.deepEqual(ws.take(), ["close 1000"]);
  assert.deepEqual([await a, await b], [null, null]);
  await assert.rejects(c);
  t.mock.timers.reset();

  [s, ws] = connected(t);
  const d = s.request("d");
  s.end();
  s.end();
  assert.deepEqual(ws.take().slice(-1), ["close 1000"]);
  const e = s.request("e"); // neither open nor to be opened again
  ws.closed(1000);
  await assert.rejects(d, /^Error: connection closed$/);
  await assert.rejects(e, /^Error: connection closed$/);
});

test("end: an aborted request is not waited for; a stream is", (t) => {
  const [s, ws] = connected(t);
  const control = new AbortController();
  s.request("a", undefined, { signal: control.signal }).catch(() => {});
  const stream = s.streamRequest("s");
  s.end();
  control.abort();
  assert.deepEqual(ws.take().slice(1), []);
  stream.write("x");
  ws.bin("S!00000000000");
  assert.deepEqual(ws.take().slice(2), ["close 1000"]);
});

test("end while connecting, and while disconnected: nothing is left waiting", async (t) => {
  let s = sock(t);
  const log = watch(s);
  const errs = [];
  const queued = s.request("x");
  s.open("ws://test/", (err) => errs.push(err.message));
  const ws = FakeWebSocket.last();
  s.end();
  assert.deepEqual(ws.take(), ["close 1000"]);
  await assert.rejects(queued, /connection closed/);
  ws.open(); // too late
  ws.closed(1006);
  assert.deepEqual(errs, ["connection closed"]);
  assert.deepEqual(log, []);
  assert.equal(s.ws, null);
  assert.deepEqual(ws.take(), []);

  s.notify("kept?");
  const again = s.request("y");
  s.end();
  await assert.rejects(again, /connection closed/);
});

test("open again: the connection before is closed, and has no say any more", async (t) => {
  const [s, first] = connected(t);
  const log = watch(s);
  const pending = s.request("x");
  s.open("ws://second/");
  assert.deepEqual(first.take().slice(-1), ["close 1000"]);
  await assert.rejects(pending, /connection closed/);
  const second = FakeWebSocket.last().open().bin("01");
  const p = s.request("y");
  first.bin("R000000000001", "1");
  first.closed(1006);
  assert.equal(s.ws, second);
  second.bin("R000000000001", "2");
  assert.equal(await p, 2);
  assert.deepEqual(log, ["close null", "open"]);

  // One that is still connecting, too.
  const errs = [];
  s.open("ws://third/", (err) => errs.push(err));
  s.open("ws://fourth/");
  assert.equal(errs[0].message, "connection closed");
});

test("a late result of a lost connection never reaches the next one", async (t) => {
  const s = sock(t);
  const results = [];
  let stream;
  s.handlers.handleBufferRequest("slow", (b, result) => results.push(result));
  s.handlers.handleRequest("async", () => new Promise((resolve) => results.push(resolve)));
  s.handlers.handleStreamRequest("stream", (st) => (stream = st));
  s.open("ws://test/");
  const first = FakeWebSocket.last().open().bin("01", "rAAAA004slow00000000", "rBBBB005async00000000", "sCCCC006stream00000000");
  const ended = [];
  stream.on("end", (err) => ended.push(err.message));
  const lost = s.streamRequest("mine");
  lost.write("x");
  lost.on("end", (err) => ended.push(err.message));
  first.closed(1006);
  assert.deepEqual(ended, Array(2).fill("websocket closed: #1006 (abnormal)"));
  results[0]("while disconnected");
  s.open("ws://test/");
  const second = FakeWebSocket.last().open().bin("01");
  second.take();
  for (const r of results) r("late");
  stream.write("late");
  stream.end();
  stream.error("late");
  lost.write("late");
  lost.end();
  await turn();
  assert.deepEqual(second.take(), []);
});

test("a result that is ready while the connection closes is dropped, not queued", (t) => {
  const [s, ws] = connected(t);
  let result;
  s.handlers.handleBufferRequest("slow", (b, r) => (result = r));
  ws.bin("rAAAA004slow00000000");
  s.end();
  result("x");
  ws.closed(1000);
  s.open("ws://test/");
  const next = FakeWebSocket.last().open();
  assert.equal(next.take().length, 3);
});

test("notifications that never left are sent over the next connection, requests are not", async (t) => {
  const [s, ws] = connected(t);
  s.end();
  s.notify("n");
  const r = s.request("r");
  const stream = s.streamRequest("s");
  stream.write("x");
  ws.closed(1000);
  await assert.rejects(r);
  s.open("ws://test/");
  assert.deepEqual(FakeWebSocket.last().open().take().slice(3), ["n001n00000000"]);
});

test("adoptWebSocket, handshake, startReading", (t) => {
  const s = sock(t);
  const ws = new FakeWebSocket("ws://test/");
  assert.throws(() => s.adoptWebSocket(ws), /socket is closed/);
  ws.readyState = 1;
  s.adopt(ws);
  const got = [];
  s.handlers.handleNotification("n", () => got.push("n"));
  ws.bin("01", "n001n00000000");
  s.handshake();
  assert.deepEqual(got, []);
  s.startReading();
  assert.deepEqual(got, ["n"]);
  assert.equal(ws.take()[0], "01");
});

test("a WebSocket that answers within send", async (t) => {
  const [s, ws] = connected(t);
  ws.answer = (data) => {
    if (Buffer.from(data)[0] == 0x72) ws.bin(`R${Buffer.from(data).subarray(1, 5)}00000000`);
  };
  s.handlers.handleNotification("go", () => s.request("inner"));
  ws.bin("n002go00000000");
  assert.equal(await s.request("outer"), null);
});

test("heartbeats: 1 ms after the version, then every interval; load is bounded", async (t) => {
  const s = sock(t);
  assert.equal(s.heartbeatInterval, 20000);
  assert.throws(() => s.sendHeartbeat(0), /^Error: socket is closed$/);
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open();
  ws.take();
  t.mock.timers.tick(100);
  assert.deepEqual(ws.take(), []);
  ws.bin("01");
  t.mock.timers.tick(1);
  assert.deepEqual(ws.take(), ["h000000000000"]);
  t.mock.timers.tick(19999);
  assert.deepEqual(ws.take(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(ws.take(), ["h000000000014"]);
  s.heartbeatInterval = 100;
  s.startSendingHeartbeats();
  t.mock.timers.tick(1);
  t.mock.timers.tick(100);
  assert.equal(ws.take().length, 2);
  s.stopSendingHeartbeats();
  t.mock.timers.tick(100000);
  assert.deepEqual(ws.take(), []);
  for (const load of [2, 1, 0.5, 0, -1, NaN]) s.sendHeartbeat(load);
  assert.deepEqual(ws.take().map((m) => m.slice(1, 5)), ["ffff", "ffff", "8000", "0000", "0000", "0000"]);
  s.heartbeatInterval = 9;
  assert.throws(() => s.startSendingHeartbeats(), /^Error: Sock.heartbeatInterval is too low$/);
});

test("a heartbeatInterval that is too low is reported, and the connection works", async (t) => {
  const s = sock(t, { heartbeatInterval: 5 });
  let ws;
  const errs = await uncaught(() => {
    s.open("ws://test/");
    ws = FakeWebSocket.last().open().bin("01");
  });
  assert.deepEqual(errs, ["Sock.heartbeatInterval is too low"]);
  const p = s.request("x");
  ws.bin("R000000000000");
  assert.equal(await p, null);
});

test("a half-open connection is noticed within twice the heartbeat interval, if the peer answers heartbeats", (t) => {
  const [s, ws] = connected(t);
  let err;
  s.on("close", (e) => (err = e));
  ws.bin(hello("{}"));
  for (let i = 0; i < 5; i++) {
    t.mock.timers.tick(i ? 20000 : 1);
    assert.equal(ws.take().length, 1);
    ws.bin("h000000000000");
  }
  for (let i = 0; i < 39; i++) t.mock.timers.tick(1000);
  assert.equal(err, undefined);
  t.mock.timers.tick(1000);
  assert.equal(err, ErrTimeout);
  assert.equal(ws.readyState, 2);
  assert.equal(s.ws, null);
});

for (const [what, said] of [["said nothing", []], ["said hello, but never answers", [hello("{}")]], ["has beats of its own", ["h000000000000"]]]) {
  test(`silence of a peer that ${what} proves nothing`, (t) => {
    const [s, ws] = connected(t);
    const log = watch(s);
    ws.bin(...said);
    t.mock.timers.tick(1);
    for (let i = 0; i < 20; i++) t.mock.timers.tick(20000);
    assert.equal(ws.take().length, 21);
    assert.deepEqual(log, []);
  });
}

/** The machine sleeps: afterwards it is much later, and what was due is done at once. Ticks are like that, too. */
function sleep(t, ms) {
  t.mock.timers.tick(ms);
}

test("a sleep is noticed on waking: an answer within 5 s, or the connection is given up", (t) => {
  for (const answers of [true, false]) {
    const [s, ws] = connected(t);
    let err;
    s.on("close", (e) => (err = e));
    ws.bin(hello("{}"));
    t.mock.timers.tick(1);
    ws.bin("h000000000000").take();
    sleep(t, 3600000);
    assert.equal(ws.take().length, 1, "asks at once");
    if (answers) ws.bin("h000000000000");
    t.mock.timers.tick(5000);
    assert.equal(err, answers ? undefined : ErrTimeout);
    t.mock.timers.reset();
  }
});

test("no timer is left behind", (t) => {
  const [s, ws] = connected(t);
  ws.bin(hello("{}"));
  s.request("x", 1, { timeout: 1000 }).catch(() => {});
  t.mock.timers.tick(1);
  ws.take();
  ws.closed(1000);
  t.mock.timers.tick(1e6);
  assert.deepEqual(ws.take(), []);
});

// The policy of staying connected.

function keepalive(t, random = 0.999999) {
  t.mock.method(Math, "random", () => random);
  const s = sock(t);
  assert.equal(s.openKeepAlive("ws://remote/"), s);
  return s;
}

/** Fails n attempts in a row and says how long each of the following waits was, in steps of 10 ms. */
function waits(t, n, end = (ws) => ws.closed(1006)) {
  const all = [];
  for (let i = 0; i < n; i++) {
    end(FakeWebSocket.last());
    const had = count();
    let ms = 0;
    while (count() == had && ms < 200000) t.mock.timers.tick(10), (ms += 10);
    all.push(ms);
  }
  return all;
}

test("keep-alive: delays double, are random below their bound, and are bounded", (t) => {
  keepalive(t);
  assert.deepEqual(waits(t, 7), [500, 1000, 2000, 4000, 5000, 5000, 5000]);
  t.mock.timers.reset();
  t.mock.restoreAll();
  keepalive(t, 0.25);
  assert.deepEqual(waits(t, 5), [130, 250, 500, 1000, 1250]);
  t.mock.timers.reset();
  t.mock.restoreAll();
  keepalive(t, 0);
  assert.deepEqual(waits(t, 3), [100, 100, 100], "never a busy loop");
});

test("keep-alive: only a connection that lasted makes the delays begin anew", (t) => {
  const s = keepalive(t);
  assert.deepEqual(waits(t, 3), [500, 1000, 2000]);
  const lasted = (ms) => (ws) => {
    ws.open().bin("01");
    assert.equal(s.keepalive.isConnected, true);
    t.mock.timers.tick(ms);
    ws.closed(1000);
    assert.equal(s.keepalive.isConnected, false);
  };
  assert.deepEqual(waits(t, 1, lasted(4999)), [4000]);
  assert.deepEqual(waits(t, 1, lasted(5000)), [500]);
  s.keepalive.minUptime = 10;
  assert.deepEqual(waits(t, 2, lasted(10)), [500, 500]);
});

test("keep-alive: after a timeout soon, after other protocol errors much later", (t) => {
  keepalive(t, 0.5);
  const broken = (code) => (ws) => ws.open().bin("01", "f0000000" + code).closed(1000);
  assert.deepEqual(waits(t, 1, broken(3)), [250]);
  assert.deepEqual(waits(t, 1, broken(2)), [7500]);
});

test("keep-alive: end and disable stop it, enable starts it again", (t) => {
  const s = keepalive(t);
  assert.equal(s.keepalive.enabled, true);
  FakeWebSocket.last().closed(1006);
  s.keepalive.disable();
  t.mock.timers.tick(60000);
  assert.equal(count(), 1);
  s.keepalive.enable();
  assert.equal(count(), 2);
  FakeWebSocket.last().open();
  s.keepalive.enable();
  assert.equal(count(), 2);
  s.end();
  FakeWebSocket.last().closed(1000);
  t.mock.timers.tick(60000);
  assert.equal(count(), 2);
  assert.equal(s.keepalive.enabled, false);
});

test("keep-alive: end in the close listener is the end", (t) => {
  const s = keepalive(t);
  s.on("close", () => s.end());
  FakeWebSocket.last().open().bin("01").closed(1001);
  t.mock.timers.tick(60000);
  assert.equal(count(), 1);
});

test("keep-alive: what was queued while away is sent on coming back; open by hand does not interfere", async (t) => {
  const s = keepalive(t);
  const p = s.request("x");
  FakeWebSocket.last().closed(1006);
  s.open("ws://other/");
  t.mock.timers.tick(60000);
  assert.equal(count(), 2);
  const ws = FakeWebSocket.last().open().bin("01", "R000000000001", "1");
  assert.equal(await p, 1);
  assert.equal(ws.take()[3], "r0000001x00000000");
});

/** A browser's window, as far as it matters here. */
function browser(t) {
  const target = new EventTarget();
  const had = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const fire = (type, props) => target.dispatchEvent(Object.assign(new Event(type), props));
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
  globalThis.document = { hidden: false };
  const listening = new Set();
  globalThis.addEventListener = (type, l) => (listening.add(type), target.addEventListener(type, l));
  globalThis.removeEventListener = (type, l) => (listening.delete(type), target.removeEventListener(type, l));
  t.after(() => {
    if (had) Object.defineProperty(globalThis, "navigator", had);
    else delete globalThis.navigator;
    for (const k of ["document", "addEventListener", "removeEventListener"]) delete globalThis[k];
  });
  return { fire, navigator: globalThis.navigator, document: globalThis.document, listening };
}

test("keep-alive: offline it waits for the event; this machine is reached without a network", (t) => {
  const page = browser(t);
  const s = keepalive(t);
  page.navigator.onLine = false;
  FakeWebSocket.last().closed(1006);
  t.mock.timers.tick(59999);
  assert.equal(count(), 1);
  page.navigator.onLine = true;
  page.fire("online");
  assert.equal(count(), 2);
  FakeWebSocket.last().open();
  page.fire("online");
  assert.equal(count(), 2);
  assert.ok(page.listening.size);
  s.end();
  assert.equal(page.listening.size, 0);

  page.navigator.onLine = false;
  for (const host of ["localhost:80", "127.0.0.1", "[::1]:8080", "my.local"]) {
    const local = gotalk.Sock({ WebSocket: FakeWebSocket }).openKeepAlive(`ws://${host}/`);
    const had = count();
    FakeWebSocket.last().closed(1006);
    t.mock.timers.tick(500);
    assert.equal(count(), had + 1, host);
    local.end();
  }
});

test("keep-alive: a page that is put away closes its connection and opens it when it is back", async (t) => {
  const page = browser(t);
  const s = keepalive(t);
  const ws = FakeWebSocket.last().open().bin("01");
  const log = watch(s);
  const p = s.request("x");
  page.fire("pagehide", { persisted: true });
  assert.equal(ws.readyState, 2);
  await assert.rejects(p, /connection closed/);
  t.mock.timers.tick(60000);
  assert.equal(count(), 1);
  page.fire("pageshow", { persisted: true });
  assert.equal(count(), 2);
  FakeWebSocket.last().open();
  assert.deepEqual(log, ["close null", "open"]);
});

test("keep-alive: a page that is looked at again makes sure of its connection", (t) => {
  const page = browser(t);
  keepalive(t);
  page.fire("pageshow", { persisted: false }); // of a page that has just been loaded
  const ws = FakeWebSocket.last().open().bin("01", hello("{}"));
  t.mock.timers.tick(1);
  ws.bin("h000000000000").take();
  page.document.hidden = true;
  page.fire("visibilitychange");
  assert.deepEqual(ws.take(), []);
  page.document.hidden = false;
  page.fire("visibilitychange");
  assert.equal(ws.take().length, 1);
  t.mock.timers.tick(5000);
  assert.equal(ws.readyState, 2, "no answer in 5 s");
  page.fire("visibilitychange");
  assert.equal(count(), 2, "does not wait any longer");
});

test("keep-alive: waking up long after the last heartbeat, with a peer that does not answer them", (t) => {
  const page = browser(t);
  keepalive(t);
  const ws = FakeWebSocket.last().open().bin("01");
  t.mock.timers.tick(1);
  t.mock.timers.tick(19000);
  page.fire("visibilitychange");
  assert.equal(ws.readyState, 1, "may well be alive");
  sleep(t, 91000);
  assert.equal(ws.readyState, 2);
});
