// Large payloads in parts, in both directions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, FakeWebSocket, latin1 } from "./fake.mjs";
import { connected, ext, friends, gotalk, hello, modern, sent, size, sock, turn, until } from "./kit.mjs";

/** A peer that likes parts of at most n bytes. */
const splits = (n, keys = modern) => keys.replace("}", `,"split":${n}}`);
const part = (t, id, data = "") => t + id + size(data) + data;
const meta = (id, json) => ext("meta", id + json);
const credit = (t, id, n) => ext("credit", t + id + n.toString(16).padStart(8, "0"));
/** What was sent but for credit. */
const replies = (ws) => sent(ws).filter((m) => !m.includes("gotalk:credit"));
const outcome = (p) => p.then((v) => ["ok", v], (err) => ["err", err.code ?? err.name]);

/** Collects what is sent until that is n messages, and all that comes within some turns. */
async function collect(ws, n) {
  const all = [];
  await until(() => all.push(...sent(ws)) >= n).catch(() => assert.fail(all.join("\n")));
  for (let i = 0; i < 10; i++) await turn();
  return [...all, ...sent(ws)];
}

test("a request leaves in parts: its size, the beginning, parts, an empty part", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  const p = s.bufferRequest("op", "0123456789");
  const want = [meta("0000", '{"size":10}'), "s0000002op000000040123", "p0000000000044567", "p00000000000289", "p000000000000"];
  assert.deepEqual(await collect(ws, 5), want);
  ws.bin("R000000000002", "ok");
  assert.equal(latin1(await p), "ok");

  // With what else the peer is told.
  s.request("op", [10], { timeout: 1000, meta: { k: "v" } }).catch(() => {});
  s.bufferRequest("", new Uint16Array([0x6161, 0x6262, 0x6363])).catch(() => {});
  assert.deepEqual((await collect(ws, 6)).sort(), [
    meta("0001", '{"k":"v","timeout_ms":1000}'), "r0001002op00000004[10]",
    meta("0002", '{"size":6}'), "s000200000000004aabb", "p000200000002cc", "p000200000000",
  ].sort());
  s.request("op", [100], { timeout: 1000, meta: { k: "v" } }).catch(() => {});
  assert.equal((await collect(ws, 4))[0], meta("0003", '{"size":5,"k":"v","timeout_ms":1000}'));
  // A key of the user's own is the user's.
  s.request("op", [100], { meta: { size: "large" } }).catch(() => {});
  assert.equal((await collect(ws, 4))[0], meta("0004", '{"size":"large"}'));
});

test("text is cut between bytes", async (t) => {
  const [s, ws] = friends(t, {}, splits(3));
  s.bufferRequest("op", "€é").catch(() => {});
  s.bufferRequest("op", "éé").catch(() => {});
  const want = { "0000": "\xe2\x82\xac\xc3\xa9", "0001": "\xc3\xa9\xc3\xa9" };
  const got = { "0000": "", "0001": "" };
  for (const m of await collect(ws, 8)) if (/^[sp]/.test(m)) got[m.slice(1, 5)] += m.slice(m[0] == "s" ? 18 : 13);
  assert.deepEqual(got, want);
  assert.ok(ws.sent.every((m) => typeof m != "string"));
});

test("payloads that are not larger than the peer likes, or to peers that like none, are whole", async (t) => {
  for (const [said, n] of [
    [splits(8), 8], [modern, 9], [splits(0), 9], [splits(0.5), 9], [splits(-1), 9], [splits('"x"'), 9], [splits("null"), 9],
    [splits("{}"), 9], [undefined, 9],
  ]) {
    const [s, ws] = said ? friends(t, {}, said) : connected(t);
    s.handlers.handleBufferRequest("back", (b) => b);
    const data = "x".repeat(n);
    s.bufferRequest("op", data).catch(() => {});
    ws.bin(part("rAAAA004back", "", data));
    assert.deepEqual(await collect(ws, 2), ["r0000002op" + size(data) + data, part("R", "AAAA", data)], said);
    t.mock.timers.reset();
  }
});

test("notifications, errors and parts of streams are not split", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.notify("n", "0123456789");
  const st = s.stream("op", { value: "0123456789" });
  st.send("0123456789");
  s.handlers.handleRequest("fails", async () => { throw new Error("0123456789"); });
  ws.bin("rAAAA005fails00000000");
  assert.deepEqual(await collect(ws, 4), [
    'n001n0000000c"0123456789"', "s!000002op0000000a0123456789", "p!0000000000a0123456789", "EAAAA0000000a0123456789",
  ]);
});

test("a peer that reads no metadata gets a streaming request alone", async (t) => {
  const [s, ws] = friends(t, {}, '{"split":4}');
  const p = s.bufferRequest("op", "01234567", { meta: { a: "b" }, timeout: 5000 });
  assert.deepEqual(await collect(ws, 3), ["s0000002op000000040123", "p0000000000044567", "p000000000000"]);
  ws.bin("S000000000002", "ok", "S000000000000");
  assert.equal(latin1(await p), "ok");
});

test("small messages pass between the parts, both of requests and of results", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.handlers.handleBufferRequest("large", () => "ABCDEFGH");
  s.bufferRequest("op", "01234567").catch(() => {});
  ws.bin("rAAAA005large00000000");
  s.notify("small");
  assert.deepEqual(sent(ws).slice(1), ["s0000002op000000040123", "SAAAA00000004ABCD", "n005small00000000"], "at once");
  const got = [];
  for (let i = 0; i < 2; i++) {
    got.push(...await until(() => (ws.sent.length ? sent(ws) : undefined)));
    s.notify("small");
  }
  const all = [...got, ...await collect(ws, 2)];
  assert.deepEqual(all.filter((m) => m[0] == "p"), ["p0000000000044567", "p000000000000"]);
  assert.deepEqual(all.filter((m) => m[0] == "S"), ["SAAAA00000004EFGH", "SAAAA00000000"]);
  assert.ok(all.indexOf("n005small00000000") < Math.max(all.indexOf("p000000000000"), all.indexOf("SAAAA00000000")), all.join());
});

test("no part is sent while much waits for the network; other messages are", async (t) => {
  const [s, ws] = friends(t, { heartbeatInterval: 0 }, splits(4));
  ws.bufferedAmount = 262145;
  s.bufferRequest("op", "01234567").catch(() => {});
  assert.equal(sent(ws).length, 2, "the first part stands behind its metadata");
  for (let i = 0; i < 10; i++) await turn();
  t.mock.timers.tick(1000);
  s.notify("small");
  assert.deepEqual(sent(ws), ["n005small00000000"]);
  ws.bufferedAmount = 262144;
  t.mock.timers.tick(10);
  assert.deepEqual(sent(ws), ["p0000000000044567"]);
  assert.deepEqual(await collect(ws, 1), ["p000000000000"]);
});

test("a cancelled request stops, and the peer is told", async (t) => {
  for (const end of ["signal", "timeout"]) {
    const [s, ws] = friends(t, { heartbeatInterval: 0 }, splits(4));
    const control = new AbortController();
    const p = outcome(s.bufferRequest("op", "x".repeat(100), { signal: control.signal, timeout: 500 }));
    await until(() => ws.sent.length > 8);
    if (end == "signal") control.abort();
    else t.mock.timers.tick(500);
    assert.deepEqual(await p, ["err", end == "signal" ? 20 : "deadline_exceeded"]);
    assert.deepEqual((await collect(ws, 1)).at(-1), ext("cancel", "0000"));
    s.end();
    assert.deepEqual(sent(ws), ["close 1000"], "nothing is pending");
    t.mock.timers.reset();
  }
});

test("a peer that knows no cancel gets the rest of a cancelled request", async (t) => {
  const [s, ws] = friends(t, {}, '{"split":4}');
  const control = new AbortController();
  const p = outcome(s.bufferRequest("op", "01234567", { signal: control.signal }));
  control.abort();
  assert.deepEqual(await p, ["err", 20]);
  assert.deepEqual(await collect(ws, 3), ["s0000002op000000040123", "p0000000000044567", "p000000000000"]);
});

test("a request that is answered early stops; one that is to be tried again is sent from its beginning", async (t) => {
  const [s, ws] = friends(t, { heartbeatInterval: 0 }, splits(4));
  const failed = outcome(s.bufferRequest("op", "x".repeat(100)));
  ws.bin(part("E", "0000", '{"code":"not_found","message":"no"}'));
  assert.deepEqual(await failed, ["err", "not_found"]);
  assert.deepEqual((await collect(ws, 2)).slice(2), []);

  t.mock.method(Math, "random", () => 0);
  const p = s.bufferRequest("op", "012345");
  ws.bin("e0001000000640000000", "4busy");
  for (let i = 0; i < 10; i++) await turn();
  assert.deepEqual(sent(ws).slice(1), ["s0001002op000000040123"]);
  t.mock.timers.tick(100);
  assert.deepEqual(await collect(ws, 4), [meta("0002", '{"size":6}'), "s0002002op000000040123", "p00020000000245", "p000200000000"]);
  ws.bin("R000200000000");
  assert.equal(await p, undefined);
});

test("the end of the connection is that of what leaves", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.handlers.handleBufferRequest("large", () => "x".repeat(100));
  const p = outcome(s.bufferRequest("op", "x".repeat(100)));
  ws.bin("rAAAA005large00000000");
  ws.closed(1006);
  assert.deepEqual(await p, ["err", "unavailable"]);
  ws.take();
  s.open("ws://test/");
  const next = FakeWebSocket.last().open().bin("01", hello(splits(4)));
  next.take();
  for (let i = 0; i < 10; i++) await turn();
  assert.deepEqual([ws.take(), next.takeMessages()], [[], []]);
  s.end();
  assert.deepEqual(next.takeMessages(), ["close 1000"], "nothing is pending");
});

test("few large requests leave at a time; those behind them wait, and no other message does", async (t) => {
  const [s, ws] = friends(t, {}, splits(40000));
  const control = new AbortController();
  const calls = Array.from({ length: 7 }, (_, i) => {
    const p = s.bufferRequest("op", "abcdefg"[i].repeat(70000), i == 5 ? { signal: control.signal } : {});
    p.catch(() => {});
    return p;
  });
  s.bufferRequest("small", "x".repeat(40000)).catch(() => {});
  s.notify("large", "x".repeat(70000));
  const begun = (all) => all.filter((m) => m[0] == "s").map((m) => m.slice(1, 5));
  const first = sent(ws);
  assert.deepEqual(begun(first), ["0000", "0001", "0002", "0003"]);
  assert.deepEqual(first.slice(-2).map((m) => m.slice(0, 8)), ["r0007005", "n005larg"]);
  control.abort(); // of what has not begun, the peer knows nothing
  await assert.rejects(calls[5], { name: "AbortError" });
  const all = await collect(ws, 14);
  assert.deepEqual(begun(all), ["0004", "0006"]);
  assert.ok(all.indexOf(all.find((m) => m[0] == "s")) > 0, "behind the end of another one");
  assert.ok(!all.join().includes("gotalk:cancel"));
  assert.equal(all.filter((m) => m[0] == "p" && m.endsWith("00000000")).length, 6);
});

test("nothing is sent after the close", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.handlers.handleBufferRequest("large", () => "x".repeat(100));
  s.bufferRequest("op", "x".repeat(100)).catch(() => {});
  ws.bin("rAAAA005large00000000");
  s.end();
  s.end();
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(ws.late, 0);
});

test("metadata that is told besides the size is bounded with it", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  let told = 0;
  for (let n = 16320; n < 16400; n++) {
    const p = s.bufferRequest("op", "x".repeat(2 ** 16), { meta: { k: "m".repeat(n) } });
    p.catch(() => {});
    const [m] = sent(ws);
    if (!m) {
      await assert.rejects(p, { code: "resource_exhausted" });
      continue;
    }
    told = parseInt(m.slice(15, 23), 16);
    assert.ok(told <= 16384, `${told} bytes`);
  }
  assert.ok(told > 16300 && told < 16384);
  s.end();
});

test("a payload may be changed once the call has returned", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  const b = bytes("012345"), c = bytes("abcdef");
  s.handlers.handleBufferRequest("back", (_b, result) => {
    result(c);
    c.fill(0x78);
  });
  s.bufferRequest("op", b).catch(() => {});
  b.fill(0x78);
  ws.bin("rAAAA004back00000000");
  const all = (await collect(ws, 7)).join();
  assert.match(all, /45/);
  assert.match(all, /ef/);
});

test("parts are joined with what else is sent, and have their order", async (t) => {
  const [s, ws] = friends(t, {}, splits(40000, modern.replace("}", ',"join":1}')));
  const data = Array.from({ length: 100000 }, (_, i) => String.fromCharCode(97 + (i % 23))).join("");
  s.bufferRequest("op", data).catch(() => {});
  let all = "";
  await until(() => (all += ws.takeMessages().join("")).endsWith("p000000000000"));
  const want = meta("0000", '{"size":100000}') + "s0000002op00009c40" + data.slice(0, 40000) +
    "p000000009c40" + data.slice(40000, 80000) + "p000000004e20" + data.slice(80000) + "p000000000000";
  assert.ok(all == want);
});

test("with headers as text", async (t) => {
  const [s, ws] = friends(t, { protocol: gotalk.protocol.text }, splits(4));
  s.bufferRequest("op", "é1234").catch(() => {});
  const all = [];
  await until(() => all.push(...ws.takeMessages()) && all.length >= 7);
  assert.deepEqual(all.slice(2), ['"s0000002op00000004"', "\xc3\xa912", '"p000000000002"', "34", '"p000000000000"']);
});

test("a result leaves in parts", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.handlers.handleRequest("json", () => [0, "é"]);
  s.handlers.handleBufferRequest("raw", async () => bytes("01234567"));
  ws.bin("rAAAA004json00000000");
  assert.deepEqual(await collect(ws, 3), ["SAAAA00000004[0,\"", "SAAAA00000004\xc3\xa9\"]", "SAAAA00000000"]);
  ws.bin("rAAAA003raw00000000");
  assert.deepEqual(await collect(ws, 3), ["SAAAA000000040123", "SAAAA000000044567", "SAAAA00000000"]);
});

test("a result that is cancelled ends, once", async (t) => {
  const [s, ws] = friends(t, {}, splits(4));
  s.handlers.handleBufferRequest("large", () => "x".repeat(1000));
  ws.bin("rAAAA005large00000000");
  await until(() => ws.sent.length > 6);
  ws.bin(ext("cancel", "AAAA"), ext("cancel", "AAAA"));
  const all = await collect(ws, 1);
  assert.deepEqual(all.slice(-1), ["EAAAA00000000"]);
  assert.ok(all.length < 100, "it has not all left");
  assert.equal(all.filter((m) => /^[ESR]AAAA0{8}/.test(m)).length, 1);
  s.end();
  assert.deepEqual(sent(ws), ["close 1000"]);
});

test("end and goaway wait for a result that leaves", async (t) => {
  for (const away of [false, true]) {
    const [s, ws] = friends(t, {}, splits(4));
    s.handlers.handleBufferRequest("large", () => "01234567");
    ws.bin("rAAAA005large00000000");
    if (away) ws.bin(ext("goaway", "{}"));
    else s.end();
    assert.deepEqual(await collect(ws, 4), ["SAAAA000000040123", "SAAAA000000044567", "SAAAA00000000", "close 1000"]);
    t.mock.timers.reset();
  }
});

test("a request of ours may be answered in parts", async (t) => {
  const [s, ws] = friends(t);
  const p = s.request("op");
  ws.take();
  ws.bin(part("S", "0000", '["\xe2\x82')).text("S000000000001").text("x").bin(part("S", "0000", '"]'));
  assert.deepEqual(sent(ws), [credit("S", "0000", 8), credit("S", "0000", 2), credit("S", "0000", 4)], "ahead, as they come");
  ws.bin("S000000000000");
  assert.deepEqual(await p, ["\ufffdx"]);
  ws.bin("S000000000001x", "S000000000000");

  const raw = s.bufferRequest("op");
  ws.bin(part("S", "0001", "\xff\x00"), part("S", "0001", "\x01"), "S000100000000");
  assert.deepEqual(await raw, new Uint8Array([255, 0, 1]));
  const empty = s.request("op");
  ws.bin("S000200000000");
  assert.equal(await empty, null);
  const nothing = s.bufferRequest("op");
  ws.bin("S000300000000");
  assert.equal(await nothing, undefined);
  const big = s.bufferRequest("op");
  const chunk = new Uint8Array(65536).fill(7);
  ws.bin("S000400010000", chunk, "S000400010000", chunk, "S000400000000");
  assert.equal((await big).length, 131072);
  ws.take();
});

test("what comes in parts may fail on the way, or be refused and come again", async (t) => {
  const [s, ws] = friends(t, { heartbeatInterval: 0 }, '{"split":4}');
  const failed = outcome(s.request("op"));
  ws.take();
  ws.bin(part("S", "0000", "[1,"), part("E", "0000", "no"));
  assert.deepEqual(await failed, ["err", "unknown"]);
  assert.deepEqual(sent(ws), [], "no credit for a peer that has no use for it");

  t.mock.method(Math, "random", () => 0);
  const p = s.request("op");
  ws.bin(part("S", "0001", "[1,"), "e0001000000010000000", "4busy");
  t.mock.timers.tick(1);
  ws.bin(part("S", "0001", "[3,"), part("S", "0002", "[2"), part("S", "0002", "]"), "S000200000000");
  assert.deepEqual(await p, [2]);

  const whole = s.request("op");
  ws.bin(part("S", "0003", "[1,"), part("R", "0003", "5"));
  assert.equal(await whole, 5);
  const lost = outcome(s.request("op"));
  ws.bin(part("S", "0004", "[1,"));
  ws.closed(1006);
  assert.deepEqual(await lost, ["err", "unavailable"]);
});

test("a handler that wants all of a request gets it so, however it comes", async (t) => {
  for (const said of [modern, undefined]) {
    const [s, ws] = said ? friends(t, {}, said) : connected(t);
    const calls = [];
    s.handlers.handleRequest("json", async (v, result, op, ctx) => {
      calls.push([v, op, ctx.meta, ctx.sock == s, ctx.signal.aborted]);
      return v;
    });
    s.handlers.handleBufferRequest("raw", (b) => b);
    ws.bin("sAAAA004json00000002", "[\"", part("p", "AAAA", "\xe2\x82"), part("p", "AAAA", "\xac\"]"));
    await turn();
    assert.deepEqual([calls, replies(ws)], [[], []]);
    ws.bin("pAAAA00000000");
    await turn();
    assert.deepEqual(calls, [[["€"], "json", {}, true, false]]);
    assert.deepEqual(sent(ws), ['RAAAA00000007["€"]']);
    ws.bin(part("p", "AAAA", "late"), "pAAAA00000000");
    ws.bin("sAAAA003raw00000000", "pAAAA00000000");
    assert.deepEqual(sent(ws), ["RAAAA00000000"]);
    ws.bin("sAAAA003raw00000000", part("p", "AAAA", "x"), "pAAAA00000000");
    assert.deepEqual(replies(ws), ["RAAAA00000001x"]);
    t.mock.timers.reset();
  }
});

test("a stream handler takes streams, and leaves what says its size to the other one", async (t) => {
  const [s, ws] = friends(t);
  const seen = [];
  s.handlers.handleBufferRequest("both", (b, result, op, { meta }) => {
    seen.push(["plain", latin1(b), meta]);
    result("R");
  });
  s.handlers.handleStream("both", async (st) => {
    for await (const b of st) seen.push(["stream", latin1(b), st.meta]);
  });
  const send = async (...m) => {
    ws.bin(...m, "sAAAA004both00000001", "1", "pAAAA00000001", "2", "pAAAA00000000");
    await turn();
    return [seen.splice(0), replies(ws)];
  };
  const stream = (meta) => [[["stream", "1", meta], ["stream", "2", meta]], ["SAAAA00000000"]];
  assert.deepEqual(await send(), stream({}));
  assert.deepEqual(await send(meta("AAAA", '{"size":"2"}')), stream({ size: "2" }));
  assert.deepEqual(await send(meta("BBBB", '{"size":2}')), stream({}));
  for (const n of [0, 2, 1e9]) {
    assert.deepEqual(await send(meta("AAAA", `{"size":${n},"k":"v"}`)), [[["plain", "12", { k: "v" }]], ["RAAAA00000001R"]]);
  }
  // Of the stream alone, there is nothing to leave it to.
  s.handlers.handleBufferRequest("both", null);
  const [none, [error, ...more]] = await send(meta("AAAA", '{"size":2}'));
  assert.match(error, /^EAAAA.*no such operation/);
  assert.deepEqual([none, more], [[], []]);
});

test("a peer that keeps to windows gets credit for the parts of a request", async (t) => {
  const [s, ws] = friends(t);
  let got;
  s.handlers.handleBufferRequest("raw", (b) => void (got = b.length));
  ws.bin("sAAAA003raw00000000");
  // It sends what it may, as long as the message has not left that lets it send more.
  let may = 262144, left = 8 << 20, rounds = 0;
  for (; left > 0; rounds++) {
    const round = Math.min(may, left);
    for (let n = round; n > 0; n -= 65536) ws.bin("pAAAA00010000", new Uint8Array(65536));
    left -= round;
    may -= round;
    for (const m of sent(ws)) {
      assert.ok(m.startsWith("n00dgotalk:credit0000000dpAAAA"), m);
      may += parseInt(m.slice(-8), 16);
    }
    assert.ok(may >= Math.min(2 * round, left), `${may} after ${round}`);
  }
  assert.ok(rounds < 6, `${rounds} rounds`);
  ws.bin("pAAAA00000000");
  assert.equal(got, 8 << 20);

});

test("requests in parts that end before they are complete", async (t) => {
  const [s, ws] = friends(t, { heartbeatInterval: 0 });
  let calls = 0;
  s.handlers.handleRequest("op", () => ++calls);
  const begin = (...m) => ws.bin(...m, "sAAAA002op00000001", "1");
  const rest = () => ws.bin("pAAAA00000001", "2", "pAAAA00000000");
  begin();
  ws.bin(ext("cancel", "AAAA"));
  assert.deepEqual(replies(ws), [part("E", "AAAA", '{"code":"canceled","message":"canceled"}')]);
  rest();
  begin(meta("AAAA", '{"size":2,"timeout_ms":100}'));
  t.mock.timers.tick(100);
  assert.match(replies(ws).join(), /^EAAAA[\da-f]{8}{"code":"deadline_exceeded",[^}]*}$/);
  rest();
  begin();
  begin(); // an id that is in use
  assert.deepEqual(replies(ws), ["f00000002", "close 4002"]);
  ws.closed(1000);
  s.open("ws://test/");
  const next = FakeWebSocket.last().open().bin("01", hello(modern));
  next.take();
  next.bin("pAAAA00000000");
  await turn();
  assert.deepEqual([calls, sent(next)], [0, []]);
});

test("what a handler of parts throws is answered like any other exception", async (t) => {
  const [s, ws] = friends(t);
  for (const [fn, want] of [
    [() => { throw new Error("secret"); }, '{"code":"internal","message":"internal error"}'],
    [() => { throw new gotalk.GotalkError("no", "not_found"); }, '{"code":"not_found","message":"no"}'],
    [async () => { throw new Error("plain"); }, "plain"],
    [(v, result) => result.error("text"), "text"],
  ]) {
    s.handlers.handleRequest("op", fn);
    ws.bin("sAAAA002op00000001", "1", "pAAAA00000000");
    await turn();
    assert.deepEqual(replies(ws), [part("E", "AAAA", want)]);
  }
});

test("without extensions nothing is split", async (t) => {
  const s = sock(t, { noExtensions: true }).open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", hello(splits(4)));
  ws.take();
  s.bufferRequest("op", "01234567").catch(() => {});
  assert.deepEqual(await collect(ws, 1), ["r0000002op0000000801234567"]);
});
