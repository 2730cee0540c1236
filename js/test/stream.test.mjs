// Streams that are iterated, and the credit that streams of all kinds wait for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, FakeWebSocket, latin1 } from "./fake.mjs";
import { connected, ext, friends, gotalk, hello, modern, sent, size, sock, turn } from "./kit.mjs";

const W = 262144;
const part = (t, id, data = "") => t + id + size(data) + data;
const hex = (n) => n.toString(16).padStart(8, "0");
const credit = (t, id, n) => ext("credit", t + id + hex(n));
const outcome = (p) => p.then((v) => ["ok", v], (err) => ["err", err]);

/** Iterates to the end; the last element says how it ended. */
async function all(stream) {
  const got = [];
  try {
    for await (const v of stream) got.push(v instanceof Uint8Array ? latin1(v) : v);
    got.push("end");
  } catch (err) {
    got.push(err.code ?? err.name);
  }
  return got;
}

test("a stream: begins at once, sends parts and its end, and is iterated", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("echo", { timeout: 1000, meta: { a: "b" } });
  assert.equal(st.op, "echo");
  assert.equal(st.sock, s);
  assert.deepEqual(sent(ws), [ext("meta", '!000{"a":"b","timeout_ms":1000}'), "s!000004echo00000000"]);
  await st.send("é");
  await st.send(new Uint16Array([0x6161]));
  await st.send("");
  await st.send();
  assert.deepEqual(sent(ws), ["p!00000000002é", "p!00000000002aa"]);
  const got = all(st);
  ws.text("S!00000000001").text("x").bin("S!00000000001", "y");
  st.end();
  st.end();
  assert.deepEqual(sent(ws), ["p!00000000000"]);
  await assert.rejects(st.send("z"), { code: "aborted", message: "stream ended" });
  ws.bin("S!00000000000", "S!00000000001z");
  assert.deepEqual(await got, ["x", "y", "end"]);
  assert.equal(st.signal.aborted, false);
  t.mock.timers.tick(1000);
  assert.deepEqual(sent(ws), [], "no cancel of what is over");
  await assert.rejects(st.send(5), TypeError);
});

test("a stream with a first value, in JSON", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("op", { json: true, value: { from: 5 } });
  await st.send([1, "é"]);
  await st.send(null);
  await st.send(0);
  assert.deepEqual(sent(ws), ['s!000002op0000000a{"from":5}', 'p!00000000008[1,"é"]', "p!00000000004null", "p!000000000010"]);
  ws.bin("S!00000000002", "{}", "S!00000000001", "0", "S!00000000001", "{");
  assert.deepEqual((await all(st)).map((v) => JSON.stringify(v)), ["{}", "0", '"SyntaxError"']);
  assert.deepEqual(sent(ws), [ext("cancel", "!000")]);
  const circular = {};
  circular.me = circular;
  assert.throws(() => s.stream("op", { json: true, value: circular }), TypeError);
  assert.throws(() => s.stream("op", { value: 5 }), TypeError);
  assert.throws(() => s.stream("gotalk:x"), { code: "invalid_argument" });
  assert.throws(() => s.stream("op", { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a stream's failures: by the peer, the signal, the timeout, the connection", async (t) => {
  for (const [fail, code, told] of [
    [(ws) => ws.bin("E!00000000028" + '{"code":"not_found","message":"no such!"}'.slice(0, 40)), "unknown", []],
    [(ws) => ws.bin(part("E", "!000", '{"code":"not_found","message":"x"}')), "not_found", []],
    [(ws) => ws.bin("e!0000000006400000004busy"), "unavailable", []],
    [(ws, c) => c.abort(), 20, [ext("cancel", "!000")]],
    [(ws) => t.mock.timers.tick(500), "deadline_exceeded", [ext("cancel", "!000")]],
    [(ws, c, st) => st.cancel(), "canceled", [ext("cancel", "!000")]],
    [(ws) => ws.closed(1006), "unavailable", []],
  ]) {
    const [s, ws] = friends(t);
    const control = new AbortController();
    const st = s.stream("op", { signal: control.signal, timeout: 500 });
    st.send("x".repeat(W));
    const waiting = outcome(st.send("y"));
    ws.bin("S!00000000001a");
    const got = all(st);
    await turn();
    ws.take();
    fail(ws, control, st);
    assert.deepEqual(await got, ["a", code]);
    const [status, err] = await waiting;
    assert.equal(status, "err", "what waited for credit");
    assert.equal(err.code, code);
    assert.equal(st.signal.reason, err);
    await assert.rejects(st.send("z"), err);
    assert.deepEqual(sent(ws), told);
    st.end();
    st.cancel();
    assert.deepEqual(sent(ws), []);
    t.mock.timers.reset();
  }
});

test("leaving the loop cancels the stream, and what was queued is dropped", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("op");
  ws.bin("S!00000000001a", "S!00000000001b").take();
  for await (const v of st) {
    assert.equal(latin1(v), "a");
    break;
  }
  assert.deepEqual(sent(ws), [ext("cancel", "!000")]);
  assert.equal(st.signal.aborted, true);
  assert.deepEqual(await all(st), ["canceled"]);
  ws.bin("S!00000000001c", "E!00000000001x");
  s.end();
  assert.deepEqual(sent(ws), ["close 1000"], "nothing is pending");
});

test("towards an old peer: no windows, and a cancelled stream ends its request", async (t) => {
  const [s, ws] = connected(t);
  const st = s.stream("op");
  st.send("a");
  assert.deepEqual(ws.takeMessages(), [], "waits for the hello");
  t.mock.timers.tick(100);
  assert.deepEqual(sent(ws), ["s!000002op00000000", "p!00000000001a"]);
  for (let i = 0; i < 3; i++) await st.send("x".repeat(W));
  ws.take();
  for (let i = 0; i < 3; i++) ws.bin("S!000" + hex(W), "y".repeat(W));
  const it = st[Symbol.asyncIterator]();
  for (let i = 0; i < 3; i++) await it.next();
  assert.deepEqual(sent(ws), [], "no credit");
  await it.return();
  assert.deepEqual(sent(ws), ["p!00000000000"]);
  const other = s.stream("op");
  other.end();
  other.cancel();
  assert.deepEqual(sent(ws), ["s!001002op00000000", "p!00100000000"], "ended once");
});

test("a stream begun before the connection, or before the hello, keeps its place", async (t) => {
  const s = sock(t);
  const st = s.stream("a");
  st.send("1");
  s.notify("n");
  const gone = s.stream("gone");
  gone.send("x").catch(() => {});
  gone.cancel();
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01");
  assert.equal(sent(ws).length, 2);
  st.send("2");
  const r = s.request("r");
  assert.deepEqual(sent(ws), []);
  ws.bin(hello(modern));
  assert.deepEqual(sent(ws), ["s!000001a00000000", "p!000000000011", "n001n00000000", "p!000000000012", "r0000001r00000000"]);
  ws.bin("R000000000000");
  await r;
});

test("sending waits for credit: exactly a window, large parts by half a window", async (t) => {
  const [s, ws] = friends(t, {}, modern.replace("262144", "1000"));
  const st = s.stream("op", { value: "v".repeat(100) });
  const log = [];
  const send = (n) => st.send("x".repeat(n)).then(() => log.push(n));
  const lengths = () => sent(ws).filter((m) => m[0] == "p").map((m) => m.length - 13);
  send(500); send(400); send(1);
  st.end();
  await turn();
  assert.deepEqual(lengths(), [500, 400]);
  assert.deepEqual(log, [500, 400]);
  ws.bin(credit("p", "!000", 1));
  assert.deepEqual(lengths(), [1, 0], "the end needs none");

  const big = s.stream("op");
  big.send("x".repeat(501));
  const large = outcome(big.send("x".repeat(100000)));
  big.send("z");
  assert.deepEqual(lengths(), [501]);
  ws.bin(credit("p", "!001", 0));
  assert.deepEqual(lengths(), []);
  ws.bin(credit("p", "!001", 1));
  assert.deepEqual(lengths(), [100000], "half a window is enough, and then there is a debt");
  assert.deepEqual(await large, ["ok", undefined]);
  ws.bin(credit("p", "!001", 99500));
  assert.deepEqual(lengths(), []);
  ws.bin(credit("p", "!001", 1));
  assert.deepEqual(lengths(), [1]);
  ws.bin(credit("S", "!001", 100), credit("p", "zzzz", 100), credit("p", "!001", 0xffffffff));
  assert.equal(ws.readyState, 1);
});

test("what waits for credit may be changed by its owner", async (t) => {
  const [s, ws] = friends(t, {}, modern.replace("262144", "4"));
  const st = s.stream("op");
  const b = bytes("abcd");
  await st.send(b);
  st.send(b);
  b.fill(0x78);
  ws.take();
  ws.bin(credit("p", "!000", 4));
  assert.deepEqual(sent(ws), ["p!00000000004abcd"]);
});

test("a stream that waits holds up neither another one nor calls", async (t) => {
  const [s, ws] = friends(t, {}, modern.replace("262144", "10"));
  const a = s.stream("a");
  const b = s.stream("b");
  for (let i = 0; i < 5; i++) a.send("x".repeat(10));
  ws.take();
  b.send("y");
  s.request("r").catch(() => {});
  assert.deepEqual(sent(ws), ["p!00100000001y", "r0000001r00000000"]);
});

test("credit is given back for what was consumed, and for nothing else", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("op");
  ws.take();
  const chunk = "x".repeat(W / 16);
  const feed = (n) => { for (let i = 0; i < n; i++) ws.bin(part("S", "!000", chunk)); };
  feed(16);
  await turn();
  assert.deepEqual(sent(ws), []);
  const it = st[Symbol.asyncIterator]();
  const take = async (n) => { for (let i = 0; i < n; i++) await it.next(); };
  await take(7);
  assert.deepEqual(sent(ws), []);
  await take(1);
  assert.deepEqual(sent(ws), [credit("S", "!000", W / 2)]);
  await take(7);
  assert.deepEqual(sent(ws), []);
  await take(1);
  assert.deepEqual(sent(ws), [credit("S", "!000", W / 2)]);
  const next = it.next();
  feed(1);
  await next;
  assert.deepEqual(sent(ws), []);
  feed(1);
  await take(1);
  assert.deepEqual(sent(ws), [credit("S", "!000", W / 8)], "an eighth is enough when nothing is left");
  // Not after the end.
  feed(16);
  ws.bin("S!00000000000");
  await take(16);
  assert.equal((await it.next()).done, true);
  assert.deepEqual(sent(ws), []);
});

// It may have begun before it knew of the window, so as much again is borne with.
test("a peer that does not keep to its window loses that stream", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("op");
  const other = s.stream("other");
  ws.take();
  ws.bin(part("S", "!000", "x".repeat(2 * W - 1)), part("S", "!000", "y".repeat(W)));
  assert.deepEqual(sent(ws), [], "a large part on the last credit is allowed");
  ws.bin(part("S", "!000", "z"));
  assert.deepEqual(sent(ws), [ext("cancel", "!000")]);
  assert.deepEqual(await all(st), ["resource_exhausted"]);
  assert.equal(other.signal.aborted, false);

  let ctx;
  s.handlers.handleStream("up", async (st) => { ctx = st; await new Promise(() => {}); });
  ws.bin("sAAAA002up00000000", part("p", "AAAA", "x".repeat(2 * W)), part("p", "AAAA", "y"), part("p", "AAAA", "y"));
  const [reply, ...more] = sent(ws);
  assert.match(reply, /^EAAAA[\da-f]{8}{"code":"resource_exhausted",/);
  assert.deepEqual(more, []);
  assert.equal(ctx.signal.reason.code, "resource_exhausted");
  assert.equal(ws.readyState, 1);
});

test("streams by events: consumed at once, and their writes wait for credit", async (t) => {
  const [s, ws] = friends(t);
  const r = s.streamRequest("op");
  let n = 0;
  r.on("data", (b) => (n += b.length));
  for (let i = 0; i < 8; i++) r.write("x".repeat(W / 8));
  r.write("y");
  r.end();
  assert.equal(sent(ws).length, 8);
  ws.bin(credit("p", r.id, 1));
  assert.deepEqual(sent(ws), ["p!00000000001y", "p!00000000000"]);
  for (let i = 0; i < 8; i++) ws.bin(part("S", r.id, "x".repeat(W / 4)));
  assert.equal(n, 2 * W);
  assert.deepEqual(sent(ws), Array(8).fill(credit("S", r.id, W / 4)));
});

test("streams by events before the hello: no more than our own window, then what the peer says", async (t) => {
  for (const [said, more] of [[modern, 0], [modern.replace("262144", "300000"), 37856], ["{}", W]]) {
    const [s, ws] = connected(t);
    const r = s.streamRequest("op");
    for (let i = 0; i < 2; i++) for (let k = 0; k < 16; k++) r.write("x".repeat(W / 16));
    const length = () => sent(ws).filter((m) => /^[sp]/.test(m)).reduce((n, m) => n + m.length - (m[0] == "s" ? 18 : 13), 0);
    assert.equal(length(), W);
    ws.bin(hello(said));
    assert.equal(length(), Math.floor(more / (W / 16)) * (W / 16));
    t.mock.timers.reset();
  }
});

test("streams answered by iterating", async (t) => {
  const [s, ws] = friends(t);
  const h = s.handlers;
  let got;
  const run = async (fn, ...input) => {
    h.handleStream("up", fn);
    ws.bin("sAAAA002up00000001", "1", ...input);
    await turn();
    await turn();
    return sent(ws);
  };
  assert.deepEqual(await run(async (st) => {
    assert.deepEqual([st.op, st.id, st.sock, st.deadline], ["up", "AAAA", s, undefined]);
    for await (const b of st) await st.send(latin1(b) + "!");
  }, "pAAAA00000001", "2", "pAAAA00000000"), ["SAAAA000000021!", "SAAAA000000022!", "SAAAA00000000"]);
  assert.deepEqual(await run((st) => { st.send("x"); }), ["SAAAA00000001x", "SAAAA00000000"], "not async");
  assert.deepEqual(await run(async () => { throw new gotalk.GotalkError("no", "not_found"); }),
    [part("E", "AAAA", '{"code":"not_found","message":"no"}')]);
  assert.deepEqual(await run(() => { throw gotalk.retryAfter(16, "busy"); }), ["eAAAA0000001000000004busy"]);
  assert.deepEqual(await run(async (st) => {
    for await (const b of st) { got = latin1(b); break; }
    st.send("enough");
    for await (const b of st) { got += latin1(b); break; }
  }, "pAAAA00000001", "2"), ["SAAAA00000006enough", "SAAAA00000000"], "leaving the loop is not the end of a handler");
  assert.equal(got, "12");
  // Cancelled, while it reads and while it writes.
  for (const fn of [
    async (st) => { got = await all(st); throw st.signal.reason; },
    async (st) => { await st.send("x".repeat(W)); ws.take(); got = [(await outcome(st.send("y")))[1].code]; },
  ]) {
    await run(fn);
    ws.bin(ext("cancel", "AAAA"));
    await turn();
    assert.equal(got.at(-1), "canceled");
    assert.deepEqual(sent(ws), [part("E", "AAAA", '{"code":"canceled","message":"canceled"}')]);
  }
  // The result ends behind what waits for credit.
  assert.equal((await run(async (st) => { st.send("x".repeat(W)); st.send("y"); })).length, 1);
  ws.bin(credit("S", "AAAA", 1));
  assert.deepEqual(sent(ws), ["SAAAA00000001y", "SAAAA00000000"]);
  h.handleStream("up", null);
  ws.bin("sAAAA002up00000000");
  assert.match(sent(ws)[0], /unimplemented/);
});

test("streams answered by iterating, in JSON; an empty first part is nothing", async (t) => {
  const [s, ws] = friends(t);
  let got;
  s.handlers.handleStream("sum", async (st) => {
    got = [];
    let sum = 0;
    for await (const n of st) got.push(n), (sum += n);
    await st.send({ sum });
  }, { json: true });
  ws.bin("sAAAA003sum00000000", "pAAAA00000001", "1", "pAAAA00000001", "2", "pAAAA00000000");
  await turn();
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(sent(ws), [part("S", "AAAA", '{"sum":3}'), "SAAAA00000000"]);
  ws.bin("sAAAA003sum00000001", "{");
  await turn();
  assert.equal(sent(ws)[0][0], "E");
});

test("pipes: readable and writable", async (t) => {
  const [s, ws] = friends(t);
  const st = s.stream("op");
  assert.equal(st.readable, st.readable);
  assert.equal(st.writable, st.writable);
  const upper = new TransformStream({ transform: (b, c) => c.enqueue(bytes(latin1(b).toUpperCase())) });
  const piped = st.readable.pipeThrough(upper).pipeTo(st.writable);
  ws.take();
  ws.bin("S!00000000002ab", "S!00000000001c", "S!00000000000");
  await outcome(piped); // the stream has ended altogether with its result
  t.mock.timers.reset();

  const [s2, ws2] = friends(t);
  const up = s2.stream("op");
  const source = new ReadableStream({ start: (c) => { for (const x of ["a", "b"]) c.enqueue(x); c.close(); } });
  await source.pipeTo(up.writable);
  assert.deepEqual(sent(ws2), ["s!000002op00000000", "p!00000000001a", "p!00000000001b", "p!00000000000"]);
  ws2.bin("S!00000000001x", "S!00000000000");
  const chunks = [];
  for await (const b of up.readable) chunks.push(latin1(b));
  assert.deepEqual(chunks, ["x"]);

  // Cancelled, failed, aborted.
  const c = s2.stream("c");
  await c.readable.cancel(new Error("enough"));
  assert.match(c.signal.reason.message, /enough/);
  const f = s2.stream("f");
  const reading = outcome(f.readable.getReader().read());
  ws2.bin(part("E", f.id, "no"));
  assert.equal((await reading)[1].message, "no");
  const a = s2.stream("a");
  await a.writable.abort(new Error("stop"));
  assert.match(a.signal.reason.message, /stop/);
  ws2.take();

  // Back-pressure reaches the source.
  const slow = s2.stream("slow");
  let pulled = 0;
  const endless = new ReadableStream({ pull: (c) => { pulled++; c.enqueue(new Uint8Array(W / 4)); } });
  const pipe = outcome(endless.pipeTo(slow.writable));
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(pulled < 10, `${pulled} chunks for a window of 4`);
  slow.cancel();
  assert.equal((await pipe)[1].code, "canceled");
});

test("10,000 streams at a time, and nothing of them stays", async (t) => {
  const [s, ws] = friends(t, { heartbeatInterval: 0 });
  const n = 10000;
  const streams = Array.from({ length: n }, () => s.stream("op"));
  assert.equal(new Set(streams.map((st) => st.id)).size, n);
  const results = streams.map(all);
  for (const st of streams) st.send("x");
  ws.sent.length = 0;
  streams.forEach((st, i) => {
    if (i % 4 == 0) ws.bin(part("S", st.id, "y"), part("S", st.id));
    else if (i % 4 == 1) ws.bin(part("E", st.id, "no"));
    else if (i % 4 == 2) st.cancel();
    else ws.bin(part("S", st.id, "y"));
  });
  streams.forEach((st, i) => i % 4 == 3 && ws.bin(part("S", st.id)));
  const got = await Promise.all(results);
  assert.deepEqual(got.slice(0, 4), [["y", "end"], ["unknown"], ["canceled"], ["y", "end"]]);
  s.end();
  assert.equal(ws.take().at(-1), "close 1000", "nothing is pending");
});
