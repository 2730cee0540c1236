// Calls that end: signals, deadlines, metadata, codes of errors, and the requests to try again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeWebSocket } from "./fake.mjs";
import { connected, ext, friends, gotalk, hello, modern, sent, size, sock, turn } from "./kit.mjs";

/** What goes before the request with that id. */
const meta = (id, json) => ext("meta", id + json);
const outcome = (p) => p.then((v) => ["ok", v], (err) => ["err", err]);

test("a cancelled call fails at once, the peer is told, and the late result is for nobody", async (t) => {
  const [s, ws] = friends(t);
  const control = new AbortController();
  const p = outcome(s.request("slow", 1, { signal: control.signal }));
  assert.deepEqual(sent(ws), ["r0000004slow000000011"]);
  control.abort(new Error("enough"));
  assert.match((await p)[1].message, /enough/);
  assert.deepEqual(sent(ws), [ext("cancel", "0000")]);
  ws.bin("E000000000008canceled");
  const q = s.request("next");
  ws.bin("R000100000000");
  assert.equal(await q, null);
  control.abort();
  assert.deepEqual(sent(ws).slice(1), [], "told once, and not of what is over");
});

test("a timeout is told in front of the request, and cancels it", async (t) => {
  const [s, ws] = friends(t);
  const p = outcome(s.request("slow", 1, { timeout: 199.5, meta: { user: "Ann", timeout_ms: "9" } }));
  assert.deepEqual(sent(ws), [meta("0000", '{"user":"Ann","timeout_ms":200}'), "r0000004slow000000011"]);
  t.mock.timers.tick(200);
  const [, err] = await p;
  assert.equal(err.code, "deadline_exceeded");
  assert.deepEqual(sent(ws), [ext("cancel", "0000")]);
  s.bufferRequest("b", "x", { meta: { a: "b" } }).catch(() => {});
  assert.deepEqual(sent(ws), [meta("0001", '{"a":"b"}'), "r0001001b00000001x"]);
});

test("meta, request and cancel are joined with what else is sent in a tick", async (t) => {
  const [s, ws] = friends(t, {}, modern.replace("}", ',"join":1}'));
  s.request("a", 1, { timeout: 50 }).catch(() => {});
  await turn();
  assert.deepEqual(ws.take(), [meta("0000", '{"timeout_ms":50}') + "r0000001a000000011"]);
});

test("a peer without hello sees nothing new; what needs one waits for it, and all behind that in order", async (t) => {
  const [s, ws] = connected(t);
  const control = new AbortController();
  s.notify("before");
  const a = outcome(s.request("a", 1, { timeout: 5000, signal: control.signal }));
  const buf = new Uint8Array([0x62]);
  const b = s.bufferRequest("b", buf);
  buf[0] = 0x78; // was sent before
  s.notify("c");
  assert.deepEqual(sent(ws), ["n006before00000000"]);
  t.mock.timers.tick(99);
  assert.deepEqual(sent(ws), []);
  t.mock.timers.tick(1);
  assert.deepEqual(ws.takeMessages(), ["r0000001a00000001", '"1"', "r0001001b00000001", "b", "n001c00000000"]);
  s.request("d", 1, { timeout: 5000 }).catch(() => {});
  assert.deepEqual(sent(ws), ["r0002001d000000011"], "it is not waited for again");
  control.abort();
  assert.equal((await a)[1].name, "AbortError");
  assert.deepEqual(sent(ws), []);
  ws.bin("R000100000000");
  assert.equal(await b, undefined);
});

test("the hello ends the wait; what is given up meanwhile is neither sent nor cancelled", async (t) => {
  const [s, ws] = connected(t, { sendBufferLimit: 1 });
  const control = new AbortController();
  const a = outcome(s.request("a", 1, { timeout: 5000, signal: control.signal }));
  s.notify("b");
  control.abort();
  assert.equal((await a)[1].name, "AbortError");
  assert.deepEqual(sent(ws), ["n001b00000000"], "nothing is waited for any more");
  s.request("c", 1, { timeout: 5000 }).catch(() => {});
  s.request("d").catch(() => {});
  t.mock.timers.tick(10);
  assert.deepEqual(sent(ws), []);
  ws.bin(hello(modern));
  assert.deepEqual(sent(ws), [meta("0001", '{"timeout_ms":4990}'), "r0001001c000000011", "r0002001d00000000"]);
});

test("a peer that can do less is asked for less", async (t) => {
  const [s, ws] = friends(t, {}, "{}");
  const control = new AbortController();
  s.request("a", 1, { timeout: 50, meta: { a: "b" }, signal: control.signal }).catch(() => {});
  control.abort();
  assert.deepEqual(sent(ws), ["r0000001a000000011"]);
});

test("noExtensions: nothing is told, waited for, or listened to", async (t) => {
  const s = sock(t, { noExtensions: true }).open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", hello(modern));
  ws.take();
  let ctx;
  s.handlers.handleRequest("op", (v, result, op, c) => void (ctx = c));
  s.request("a", 1, { timeout: 50 }).catch(() => {});
  ws.bin(meta("AAAA", '{"a":"b"}'), "rAAAA002op00000000", ext("cancel", "AAAA"), ext("cancel", "A"), ext("hello", "["));
  assert.deepEqual(sent(ws), ["r0000001a000000011"]);
  assert.deepEqual(ctx.meta, {});
  assert.equal(ctx.signal.aborted, false);
});

test("handlers get a context", async (t) => {
  const [s, ws] = friends(t);
  const seen = {};
  const h = s.handlers;
  h.handleRequest("json", (v, result, op, ctx) => void (seen.json = ctx));
  h.handleBufferRequest("raw", (v, result, op, ctx) => void (seen.raw = ctx));
  h.handleStreamRequest("stream", (st, op, ctx) => void (seen.stream = ctx));
  h.handleNotification("note", (v, name, ctx) => (seen.note = ctx));
  h.handleBufferNotification("rawnote", (v, name, ctx) => (seen.rawnote = ctx));
  const now = Date.now();
  ws.bin(meta("AAAA", '{"timeout_ms":200,"user":"Ann","__proto__":"x"}'), "rAAAA004json00000000", "rBBBB003raw00000000");
  ws.bin(meta("CCCC", '{"timeout_ms":300}'), "sCCCC006stream00000000", "n004note00000000n007rawnote00000000");
  assert.equal(seen.json.deadline, now + 200);
  assert.deepEqual(Object.entries(seen.json.meta), [["user", "Ann"], ["__proto__", "x"]]);
  assert.deepEqual([seen.raw.deadline, seen.raw.meta], [undefined, {}]);
  assert.equal(seen.stream.deadline, now + 300);
  for (const k of ["json", "raw", "stream", "note", "rawnote"]) assert.equal(seen[k].sock, s, k);
  for (const k of ["json", "raw", "stream"]) assert.equal(seen[k].signal.aborted, false, k);
  ws.closed(1006);
  for (const k of ["json", "raw", "stream"]) assert.equal(seen[k].signal.aborted, true, k);
  assert.match(seen.json.signal.reason.message, /#1006/);
  assert.equal(seen.json.signal.reason.code, "unavailable");
});

test("meta belongs to the next request alone, and only if it has its id", (t) => {
  const [s, ws] = friends(t);
  const seen = [];
  s.handlers.handleRequest("op", (v, result, op, { meta, deadline }) => void seen.push(meta.k, deadline));
  ws.bin(meta("AAAA", '{"k":"1"}'), "rBBBB002op00000000", "rAAAA002op00000000");
  ws.bin(meta("CCCC", '{"k":"1"}'), meta("CCCC", '{"k":"2"}'), "rCCCC002op00000000");
  for (const ms of ['"5"', "null", "{}", "[]", "true", "1e99"]) ws.bin(meta("DDDD", `{"timeout_ms":${ms}}`), "rDDDD002op00000000");
  assert.deepEqual(seen.slice(0, 6), [undefined, undefined, undefined, undefined, "2", undefined]);
  assert.ok(seen.slice(6).every((v) => v === undefined || typeof v == "number"));
  assert.equal(ws.readyState, 1);
});

test("a cancelled request: signal, one final reply, whatever the handler does", async (t) => {
  const [s, ws] = friends(t);
  const h = s.handlers;
  const canceled = 'EAAAA000000' + size('{"code":"canceled","message":"canceled"}', 2) + '{"code":"canceled","message":"canceled"}';
  const run = async (fn, op = "r") => {
    h.handleRequest("op", op == "r" ? fn : null);
    h.handleStreamRequest("op", fn);
    ws.bin(op + "AAAA002op00000000");
    await turn();
    ws.bin(ext("cancel", "AAAA"), ext("cancel", "AAAA"), ext("cancel", "ZZZZ"));
    await turn();
    return sent(ws);
  };
  let signal;
  assert.deepEqual(await run((v, result, op, ctx) => void ({ signal } = ctx)), [canceled]);
  assert.equal(signal.aborted, true);
  assert.equal(signal.reason.code, "canceled");
  assert.deepEqual(await run((v, result, op, { signal }) => new Promise((ok, no) => signal.addEventListener("abort", () => no(signal.reason)))), [canceled]);
  assert.deepEqual(await run((v, result, op, { signal }) => signal.addEventListener("abort", () => result("partial"))), ['RAAAA00000009"partial"']);
  assert.deepEqual(await run((st, op, ctx) => void st.on("end", (err) => st.write(err.code)), "s"), [canceled]);
  assert.deepEqual(await run(() => 5), ["RAAAA000000015"], "too late");
});

test("a deadline that passes while the handler is at work", async (t) => {
  const [s, ws] = friends(t);
  let signal;
  s.handlers.handleRequest("op", async (v, result, op, ctx) => (signal = ctx.signal, new Promise(() => {})));
  s.handlers.handleRequest("fast", () => 1);
  ws.bin(meta("AAAA", '{"timeout_ms":200}'), "rAAAA002op00000000", meta("BBBB", '{"timeout_ms":200}'), "rBBBB004fast00000000");
  assert.deepEqual(sent(ws), ["RBBBB000000011"]);
  t.mock.timers.tick(199);
  assert.equal(signal.aborted, false);
  t.mock.timers.tick(1);
  assert.equal(signal.reason.code, "deadline_exceeded");
  const [reply, ...more] = sent(ws);
  assert.match(reply, /^EAAAA[\da-f]{8}{"code":"deadline_exceeded","message":".+"}$/);
  assert.deepEqual(more, []);
});

test("malformed extension messages break the protocol, those of no use do not", (t) => {
  const big = `{"a":"${"x".repeat(16377)}"}`; // one byte too long
  for (const [bad, ok] of [
    [ext("cancel", "AAA")], [ext("cancel", "AAAAA")], [ext("cancel", "")], [ext("meta", "AAA")], [ext("meta", "AAAA")],
    [ext("meta", "AAAA[]")], [ext("meta", "AAAAnull")], [ext("meta", "AAAA{")], [ext("meta", "AAAA" + big)], [ext("hello", big)],
    [ext("credit", "")], [ext("credit", "pAAAA0000001")], [ext("credit", "pAAAA000000100")], [ext("credit", "pAAAA0000000g")],
    [ext("credit", "sAAAA00000001")], [ext("credit", "xAAAA00000001")], [ext("goaway", "[]")], [ext("goaway", "")],
    [ext("credit", "pAAAA00000001"), true], [ext("credit", "SAAAA00000001"), true], [ext("cancel", "AAAA"), true],
    [ext("meta", "AAAA{}"), true], [ext("future", big), true], [ext("constructor", "x"), true], [ext("", ""), true],
  ]) {
    const [, ws] = friends(t);
    ws.bin(bad);
    assert.deepEqual(ws.takeMessages(), ok ? [] : ["f00000002", "close 4002"], bad.slice(0, 40));
    t.mock.timers.reset();
    if (/gotalk:hello/.test(bad)) continue;
    const [, old] = connected(t);
    old.bin(bad);
    assert.deepEqual(old.takeMessages(), [], "from a peer that said nothing: " + bad.slice(0, 40));
    t.mock.timers.reset();
  }
});

test("errors are sent with their code to those who read it, as text to others", async (t) => {
  const { GotalkError } = gotalk;
  const cases = [
    [() => Promise.reject(new Error("plain")), "plain", "plain"],
    [() => Promise.reject(new Error("{not JSON")), '{"code":"unknown","message":"{not JSON"}', "{not JSON"],
    [() => { throw new GotalkError("no such user", "not_found"); }, '{"code":"not_found","message":"no such user"}', "no such user"],
    [() => { throw new GotalkError("", "aborted"); }, '{"code":"aborted","message":""}', "aborted"],
    [() => { throw new GotalkError("x", "mine", { a: [1] }); }, '{"code":"mine","message":"x","details":{"a":[1]}}', "x"],
    [() => { throw Object.assign(new Error("taken"), { code: "already_exists" }); }, '{"code":"already_exists","message":"taken"}', "taken"],
    [() => { throw Object.assign(new Error("secret"), { code: "ENOENT" }); }, '{"code":"internal","message":"internal error"}', "internal error"],
    [() => { throw new Error("secret"); }, '{"code":"internal","message":"internal error"}', "internal error"],
    [(v, result) => result.error("text"), "text", "text"],
    [(v, result) => result.error(undefined), "undefined", "undefined"],
    [null, '{"code":"unimplemented","message":"no such operation \\"op\\""}', 'no such operation "op"'],
  ];
  for (const said of [modern, '{"cancel":1}', undefined]) {
    const [s, ws] = said ? friends(t, {}, said) : connected(t);
    for (const [fn, json, text] of cases) {
      s.handlers.handleRequest("op", fn);
      ws.bin("rAAAA002op00000000");
      await turn();
      const want = said == modern ? json : text;
      assert.deepEqual(sent(ws), ["EAAAA" + size(want) + want]);
    }
    t.mock.timers.reset();
  }
});

test("errors that are received", async (t) => {
  const ask = async (s, ws, text) => {
    const p = outcome(s.request("op"));
    ws.bin(`E${ws.take().at(-1).slice(1, 5)}${size(text)}${text}`);
    const [, err] = await p;
    assert.ok(err instanceof gotalk.GotalkError);
    return [err.code, err.message, err.details];
  };
  const full = '{"code":"not_found","message":"gone","details":{"a":1}}';
  const [s, ws] = friends(t, {}, "{}");
  assert.deepEqual(await ask(s, ws, full), ["not_found", "gone", { a: 1 }]);
  assert.deepEqual(await ask(s, ws, '{"code":"odd thing","message":"x"}'), ["odd thing", "x", undefined]);
  assert.deepEqual(await ask(s, ws, '{"code":"aborted"}'), ["aborted", "", undefined]);
  for (const text of ["no", "", "{", "null", "5", '"x"', "[]", '{"code":5,"message":"x"}', "{}"]) {
    assert.deepEqual(await ask(s, ws, text), ["unknown", text, undefined]);
  }
  t.mock.timers.reset();
  assert.deepEqual(await ask(...connected(t), full), ["unknown", full, undefined], "an old peer's text is its text");
});

test("codes of what fails here", async (t) => {
  const [s, ws] = friends(t, { sendBufferLimit: 0 });
  await assert.rejects(s.request("gotalk:x"), { code: "invalid_argument" });
  const lost = s.request("a");
  ws.closed(1006);
  await assert.rejects(lost, { code: "unavailable", message: "websocket closed: #1006 (abnormal)" });
  await assert.rejects(s.request("b"), { code: "unavailable", message: "socket is closed" });
  assert.throws(() => s.notify("b"), { code: "unavailable" });
});

test("retryAfter: a RetryResult to those who said hello, an error to others", async (t) => {
  const { retryAfter } = gotalk;
  for (const said of [modern, undefined]) {
    const [s, ws] = said ? friends(t) : connected(t);
    const run = async (fn) => {
      s.handlers.handleRequest("op", fn);
      ws.bin("rAAAA002op00000000");
      await turn();
      return sent(ws);
    };
    const want = said ? "eAAAA0000012c00000004busy" : "EAAAA00000004busy";
    assert.deepEqual(await run(() => { throw retryAfter(300, "busy"); }), [want]);
    assert.deepEqual(await run(() => Promise.reject(retryAfter(300, "busy"))), [want]);
    assert.deepEqual(await run((v, result) => result.error(retryAfter(300, "busy"))), [want]);
    if (said) for (const [ms, hex] of [[0, "00000000"], [-5, "00000000"], [NaN, "00000000"], [1.5, "00000001"]]) {
      assert.deepEqual(await run(() => { throw retryAfter(ms, "x"); }), [`eAAAA${hex}00000001x`]);
    }
    t.mock.timers.reset();
  }
  const err = retryAfter(5, "busy");
  assert.ok(err instanceof gotalk.GotalkError);
  assert.deepEqual([err.code, err.message], ["unavailable", "busy"]);
});

test("a request that is to be tried again: jitter, until the deadline or the number of tries", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const [s, ws] = friends(t, { heartbeatInterval: 0 });
  const p = outcome(s.request("op", 1, { timeout: 2000 }));
  const waits = [];
  for (let i = 0; i < 5; i++) {
    const [, r] = sent(ws);
    ws.bin(`e${r.slice(1, 5)}0000006400000004busy`);
    let ms = 0;
    while (ms < 2000 && !ws.sent.length) t.mock.timers.tick(1), ms++;
    waits.push(ms);
  }
  assert.deepEqual(waits.slice(0, 4), [150, 200, 300, 500]);
  const [status, err] = await p;
  assert.deepEqual([status, err.code], ["err", "unavailable"], "the next wait would end after the deadline");

  // While it waits, the peer knows nothing that could be cancelled.
  const control = new AbortController();
  const q = outcome(s.request("op", 1, { signal: control.signal }));
  ws.bin(`e${sent(ws)[0].slice(1, 5)}0000006400000000`);
  control.abort();
  assert.equal((await q)[1].name, "AbortError");
  t.mock.timers.tick(5000);
  assert.deepEqual(sent(ws), []);

  const r = outcome(s.request("op", 1, { retries: 1, timeout: 60000 }));
  for (let i = 0; i < 2; i++) {
    ws.bin(`e${sent(ws)[1].slice(1, 5)}0000000000000000`);
    t.mock.timers.tick(1000);
  }
  assert.equal((await r)[1].code, "unavailable");
});

test("a handler that takes its context may return nothing", async (t) => {
  const [s, ws] = friends(t);
  s.handlers.handleRequest("op", async (v, _result, _op, { signal }) => void signal);
  ws.bin("rAAAA002op00000000");
  await turn();
  assert.deepEqual(sent(ws), ["RAAAA00000000"]);
});

test("goaway: nothing new goes there, what is under way is finished, and then it is left", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const s = sock(t, { sendBufferLimit: 2, heartbeatInterval: 0 }).openKeepAlive("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", hello(modern));
  const log = [];
  s.on("close", (err) => log.push(err));
  let result;
  s.handlers.handleRequest("served", (v, r) => void (result = r));
  const before = s.request("before");
  ws.bin("rAAAA006served00000000").take();
  ws.bin(ext("goaway", '{"after_ms":1000,"jitter_ms":500,"reason":"shutting down"}'));
  const after = s.request("after", 1, { timeout: 60000 });
  const stream = s.stream("up");
  stream.send("x").catch(() => {});
  await assert.rejects(s.request("too many"), { code: "unavailable" });
  s.notify("still");
  assert.deepEqual(ws.take(), ["n005still00000000"]);
  ws.bin("R000000000000");
  assert.equal(await before, null);
  assert.deepEqual(ws.take(), []);
  result(1);
  assert.deepEqual(ws.take(), ["RAAAA00000001", '"1"', "close 1000"]);
  ws.closed(1000);
  assert.deepEqual(log, [null]);
  t.mock.timers.tick(1249);
  assert.equal(FakeWebSocket.all.length, 1);
  t.mock.timers.tick(1);
  assert.equal(FakeWebSocket.all.length, 2);
  const next = FakeWebSocket.last().open().bin("01", hello(modern));
  assert.deepEqual(sent(next).slice(2), [
    meta("0001", '{"timeout_ms":58750}'), "r0001005after000000011", "s!000002up00000000", "p!00000000001x",
  ]);
  next.bin("R000100000000");
  assert.equal(await after, null);
});

test("goaway: an idle connection is closed at once; one that is not kept fails what waits", async (t) => {
  for (const [json, wait] of [["{}", 0], ['{"after_ms":"x","jitter_ms":[]}', 0], ['{"after_ms":-5,"jitter_ms":0}', 0], ['{"after_ms":1e99,"jitter_ms":0}', 2 ** 31 - 1]]) {
    const s = sock(t, { heartbeatInterval: 0 }).openKeepAlive("ws://test/");
    const ws = FakeWebSocket.last().open().bin("01", hello(modern), ext("goaway", json));
    assert.deepEqual(ws.take().slice(-1), ["close 1000"]);
    ws.closed(1000);
    t.mock.timers.tick(1000);
    assert.equal(FakeWebSocket.all.length, wait ? 1 : 2, json);
    s.end();
    s.end();
    t.mock.timers.reset();
  }
  const [s, ws] = friends(t);
  const first = s.request("first");
  ws.bin(ext("goaway", "{}"));
  const late = s.request("late");
  ws.bin("R000000000000");
  assert.equal(await first, null);
  ws.closed(1000);
  await assert.rejects(late, { code: "unavailable" });
});

test("goaway, then end", async (t) => {
  const s = sock(t).openKeepAlive("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", hello(modern));
  const a = s.request("a");
  ws.bin(ext("goaway", '{"after_ms":0,"jitter_ms":0}'));
  const b = s.request("b");
  s.end();
  ws.bin("R000000000000");
  assert.equal(await a, null);
  assert.deepEqual(ws.take().slice(-1), ["close 1000"]);
  ws.closed(1000);
  await assert.rejects(b, { code: "unavailable" });
  t.mock.timers.tick(60000);
  assert.equal(FakeWebSocket.all.length, 1);
});

test("a kept connection: what waited for a hello and never left goes over the next one", async (t) => {
  const s = sock(t).openKeepAlive("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01");
  const sentOne = s.request("sent");
  const held = s.request("held", 1, { timeout: 60000 });
  ws.closed(1006);
  await assert.rejects(sentOne, { code: "unavailable" });
  t.mock.timers.tick(5000);
  const next = FakeWebSocket.last().open().bin("01", hello("{}"));
  assert.deepEqual(sent(next).slice(2), ["r0001004held000000011"]);
  next.bin("R000100000000");
  assert.equal(await held, null);
});
