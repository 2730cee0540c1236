// The state machine, against a scripted WebSocket and with time in the hands of the test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, FakeWebSocket, latin1 } from "./fake.mjs";
import { connected, gotalk, HELLO, hello, sock, turn, uncaught } from "./kit.mjs";

test("opening: version, hello, what was queued; then the callback, the event, and incoming messages", async (t) => {
  const log = [];
  const s = sock(t);
  s.handlers.handleNotification("early", () => log.push("early"));
  s.notify("queued", 1);
  const echo = s.request("echo", "x");
  s.on("open", (o) => log.push(o === s ? "event" : "wrong"));
  assert.equal(s.open("ws://test/a", (err, o) => log.push(err === null && o === s ? "callback" : "wrong")), s);
  const ws = FakeWebSocket.last();
  assert.equal(ws.url, "ws://test/a");
  assert.equal(ws.binaryType, "arraybuffer");
  ws.open().bin("01", "n005early00000000", "R000000000003", '"x"');
  assert.deepEqual(ws.take(), ["01", ...HELLO, "n006queued00000001", '"1"', "r0000004echo00000003", '"\\"x\\""']);
  assert.deepEqual(log, ["callback", "event", "early"]);
  assert.equal(await echo, "x");
  assert.equal(s.address(), "ws://test/a");
  assert.equal(s.ws, ws);
});

test("noExtensions: no hello, and the peer's is ignored", async (t) => {
  const s = sock(t, { noExtensions: true }).open("ws://test/");
  const ws = FakeWebSocket.last().open();
  assert.deepEqual(ws.take(), ["01"]);
  ws.bin("01", hello());
  s.notify("a", 1);
  await turn();
  assert.deepEqual(ws.take(), ["n001a00000001", '"1"']);
});

test("towards a peer that said nothing, header and payload are messages of their own", async (t) => {
  const [s, ws] = connected(t);
  for (let i = 0; i < 3; i++) s.bufferNotify("a", "é");
  await turn();
  assert.deepEqual(ws.take(), Array(3).fill(["n001a00000002", '"é"']).flat());
});

test("joined messages: all of one tick in one, in order, to a peer that said so", async (t) => {
  const [s, ws] = connected(t);
  ws.bin(hello());
  for (let i = 0; i < 1000; i++) s.request("echo", i);
  assert.deepEqual(ws.take(), [], "not in the same tick");
  s.sendHeartbeat(1);
  await turn();
  const sent = ws.take();
  assert.equal(sent.length, 1);
  let want = "";
  for (let i = 0; i < 1000; i++) {
    want += `r${i.toString(36).padStart(4, "0")}004echo0000000${String(i).length}${i}`;
  }
  assert.equal(sent[0].slice(0, want.length), want);
  assert.match(sent[0].slice(want.length), /^hffff/);
});

test("joined messages are bounded, and nothing changes their order", async (t) => {
  const [s, ws] = connected(t);
  ws.bin(hello());
  const big = new Uint8Array(200000).fill(0x62);
  const want = [];
  for (let i = 0; i < 50; i++) {
    s.bufferNotify("s", "x".repeat(3000));
    want.push("n001s00000bb8" + "x".repeat(3000));
  }
  s.bufferNotify("big", big);
  s.bufferNotify("end");
  want.push("n003big00030d40" + "b".repeat(200000), "n003end00000000");
  await turn();
  const sent = ws.take();
  assert.equal(sent.join(""), want.join(""));
  assert.ok(sent.length < 8, `${sent.length} messages`);
  for (const m of sent) assert.ok(m.length == 200000 || m.length < 70000, `${m.length} bytes`);
});

test("what waits to be joined is sent before the connection is closed", (t) => {
  const [s, ws] = connected(t);
  ws.bin(hello());
  s.bufferNotify("last", "x");
  s.end();
  assert.deepEqual(ws.take(), ["n004last00000001x", "close 1000"]);
});

test("a payload may be changed once the call has returned", async (t) => {
  const b = bytes("abc");
  const s = sock(t);
  s.bufferNotify("queued", b);
  b[0] = 0x78;
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01", hello());
  assert.deepEqual(ws.take().slice(-2), ["n006queued00000003", "abc"]);
  s.bufferNotify("joined", b);
  b[0] = 0x79;
  await turn();
  assert.deepEqual(ws.take(), ["n006joined00000003xbc"]);
});

test("a hello that is no JSON object is a protocol error; unknown keys are not", (t) => {
  for (const [json, ok] of [["{", false], ["", false], ["null", false], ["[]", false], ['"{}"', false], ["{}", true], ['{"join":0,"future":{}}', true]]) {
    const [, ws] = connected(t, {});
    ws.bin(hello(json));
    assert.deepEqual(ws.takeMessages(), ok ? [] : ["f00000002", "close 4002"], json);
    t.mock.timers.reset();
  }
});

test("reserved names neither reach handlers nor leave", async (t) => {
  const [s, ws] = connected(t);
  const seen = [];
  s.handlers.handleBufferNotification("", (b, name) => seen.push(name));
  s.handlers.handleBufferRequest("", (b, result, op) => seen.push(op));
  s.handlers.handleStreamRequest("", (stream, op) => seen.push(op));
  ws.bin("n00dgotalk:future00000002", "{}", "rAAAA00dgotalk:future00000000", "sBBBB00dgotalk:future00000000");
  assert.deepEqual(seen, []);
  const refusal = JSON.stringify('no such operation "gotalk:future"');
  assert.deepEqual(ws.take(), ["EAAAA00000021", refusal, "EBBBB00000021", refusal]);
  const bad = { message: /reserved/ };
  for (const f of ["request", "requestp", "bufferRequest", "bufferRequestp"]) await assert.rejects(s[f]("gotalk:x"), bad);
  for (const f of ["notify", "bufferNotify", "streamRequest"]) assert.throws(() => s[f]("gotalk:x"), bad);
  for (const f of ["handleRequest", "handleBufferRequest", "handleNotification", "handleBufferNotification", "handleStreamRequest"]) {
    assert.throws(() => s.handlers[f]("gotalk:x", () => {}), bad);
  }
  assert.deepEqual(ws.take(), []);
});

test("a name over 4095 bytes is an error; 4095 are not", async (t) => {
  const [s, ws] = connected(t);
  await assert.rejects(s.request("é".repeat(2048)), /longer than 4095 bytes/);
  assert.throws(() => s.notify("n".repeat(4096)), /longer than 4095 bytes/);
  s.notify("n".repeat(4095));
  assert.equal(ws.take().length, 1);
});

test("operations may have any name", async (t) => {
  const [s, ws] = connected(t);
  for (const op of ["constructor", "__proto__", "toString"]) {
    const n = op.length.toString(16).padStart(3, "0");
    ws.bin(`rAAAA${n}${op}00000000`, `n${n}${op}00000000`);
    assert.deepEqual(ws.take()[1], JSON.stringify(`no such operation "${op}"`));
    const notes = [];
    s.handlers.handleNotification(op, (v, name) => notes.push(name));
    s.handlers.handleRequest(op, () => 1);
    ws.bin(`rAAAA${n}${op}00000000`, `n${n}${op}00000000`);
    assert.deepEqual(ws.take(), ["RAAAA00000001", '"1"']);
    assert.deepEqual(notes, [op]);
  }
});

test("incoming bytes: any cut, in binary and text messages, is the same conversation", async (t) => {
  const notes = ["n001a00000005hello", "n00000000000", "n002b200000002\xc3\xa9", "n001c00000000", "n0011" + "00000003xyz", hello("{}")];
  const all = "01" + notes.join("") + "RAAAA00000001x" + "h0000000000ffEzzzz00000001y";
  const want = ["a:hello", ":", "b2:é", "c:", "1:xyz"];
  for (const text of [false, true]) {
    const input = text ? Buffer.from(all, "latin1").toString() : all;
    for (const size of [1, 2, 3, 5, 7, 13, 14, 17, 50, 1000]) {
      const s = sock(t).open("ws://test/");
      const got = [];
      s.handlers.handleBufferNotification("", (b, name) => got.push(name + ":" + (b == null ? "" : typeof b == "string" ? b : Buffer.from(b))));
      const ws = FakeWebSocket.last().open();
      for (let i = 0; i < input.length; i += size) {
        const piece = input.slice(i, i + size);
        if (text) ws.text(piece);
        else ws.bin(piece);
        if (i % 2) ws.bin(""); // an empty message is nothing
      }
      assert.deepEqual(got, want, `${text ? "text" : "binary"} by ${size}`);
      assert.equal(ws.readyState, 1);
      t.mock.timers.reset();
    }
  }
});

test("a large payload may come in many pieces", async (t) => {
  const [s, ws] = connected(t);
  const p = s.bufferRequest("big");
  ws.bin("R000000500000");
  const piece = new Uint8Array(0x1000).fill(7);
  for (let i = 0; i < 0x500; i++) ws.bin(piece);
  const b = await p;
  assert.equal(b.length, 0x500000);
  assert.equal(b.buffer.byteLength, 0x500000, "nothing but the payload");
});

test("a payload in a text message of its own is a string, all others are Uint8Array", async (t) => {
  const [s, ws] = connected(t);
  const results = [1, 2, 3, 4].map(() => s.bufferRequest("x"));
  ws.text("R000000000002").text("é");
  ws.text("R000100000002é");
  ws.bin("R000200000002", "\xc3\xa9");
  ws.text("R000300000002").bin("\xc3\xa9");
  const [a, ...rest] = await Promise.all(results);
  assert.equal(a, "é");
  for (const b of rest) {
    assert.ok(b instanceof Uint8Array);
    assert.equal(latin1(b), "\xc3\xa9");
  }
});

test("payloads have their true size: emoji, NUL, lone surrogates, every BufferSource", async (t) => {
  const [s, ws] = connected(t);
  const buf = bytes("01234567").buffer;
  const cases = [
    ["😀", 4], ["a\0b", 3], ["\ud800", 3], ["", 0], [null, 0], [undefined, 0],
    [buf, 8], [new Uint8Array(buf, 2, 3), 3], [new DataView(buf, 1, 5), 5], [new Uint16Array(buf, 2, 2), 4],
    [new Float64Array(buf), 8], [new BigInt64Array(buf), 8], [new Int8Array(0), 0], [new Uint8ClampedArray(buf), 8],
  ];
  for (const [payload, size] of cases) {
    s.bufferNotify("n", payload);
    const sent = ws.sent.splice(0);
    assert.equal(latin1(sent[0]), "n001n" + size.toString(16).padStart(8, "0"));
    assert.equal(sent.length, size ? 2 : 1);
    if (size && typeof payload == "string") assert.equal(sent[1], payload);
    else if (size) {
      const view = ArrayBuffer.isView(payload) ? payload : new Uint8Array(payload);
      assert.deepEqual(sent[1], new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)));
    }
  }
  for (const bad of [5, {}, [1], true]) {
    assert.throws(() => s.bufferNotify("n", bad), TypeError);
    await assert.rejects(s.bufferRequest("n", bad), TypeError);
  }
  const emoji = s.request("echo", "😀");
  assert.deepEqual(ws.take(), ["r0000004echo00000006", JSON.stringify('"😀"')]);
  ws.bin("R000000000006", Buffer.from('"😀"'));
  assert.equal(await emoji, "😀");
});

test("request: results and errors", async (t) => {
  const [s, ws] = connected(t);
  const outcome = (p) => p.then((v) => ["ok", v], (err) => ["err", err]);
  const send = async (reply) => {
    const p = outcome(s.request("op"));
    const id = ws.take()[0].slice(1, 5);
    ws.bin(...reply(id));
    return p;
  };
  assert.deepEqual(await send((id) => [`R${id}00000000`]), ["ok", null]);
  assert.deepEqual(await send((id) => [`R${id}00000004`, "null"]), ["ok", null]);
  assert.deepEqual(await send((id) => [`S${id}00000002`, "12", `S${id}00000000`]), ["ok", 12]);
  const [, err] = await send((id) => [`E${id}00000002`, "no"]);
  assert.ok(err instanceof gotalk.GotalkError && err instanceof Error);
  assert.equal(err.message, "no");
  assert.equal(String(err), "Error: no");
  assert.equal(err.code, "unknown");
  assert.ok((await send((id) => [`R${id}00000001`, "{"]))[1] instanceof SyntaxError);
  const circular = {};
  circular.me = circular;
  await assert.rejects(s.request("op", circular), TypeError);
});

test("request: callbacks are called once, and the promise is always kept", async (t) => {
  const [s, ws] = connected(t);
  const calls = [];
  const cb = (...args) => calls.push(args);
  const promises = [s.request("a", cb), s.request("b", 1, cb), s.bufferRequest("c", cb), s.bufferRequest("d", "x", cb), s.request("gotalk:", cb)];
  assert.deepEqual(ws.take().filter((m) => m[0] == "r"),
    ["r0000001a00000000", "r0001001b00000001", "r0002001c00000000", "r0003001d00000001"]);
  ws.bin("R000000000001", "1", "E000100000001", "x", "R000200000001", "y", "E000300000000");
  assert.deepEqual(await Promise.all(promises), Array(5).fill(undefined));
  const text = calls.map(([err, v]) => err ? "err " + err.message : v instanceof Uint8Array ? latin1(v) : v).sort();
  assert.deepEqual(text.slice(0, 4), [1, "err ", 'err name is reserved or longer than 4095 bytes: gotalk:', "err x"]);
  assert.equal(text[4], "y");

  let n = 0;
  const errs = await uncaught(async () => {
    const p = s.request("e", () => {
      n++;
      throw new Error("in callback");
    });
    ws.bin("R000400000000");
    assert.equal(await p, undefined);
  });
  assert.equal(n, 1);
  assert.deepEqual(errs, ["in callback"]);
});

test("a listener that throws is reported, stops nothing, and listeners may come and go meanwhile", async (t) => {
  const s = sock(t);
  const log = [];
  s.once("open", () => log.push("once"));
  s.on("open", function self() {
    s.removeListener("open", self);
    throw new Error("in listener");
  });
  s.on("open", () => log.push("later"));
  const errs = await uncaught(() => {
    s.open("ws://test/", () => {
      throw new Error("in callback");
    });
    FakeWebSocket.last().open().bin("01", "h000100000001");
  });
  assert.deepEqual(errs, ["in callback", "in listener"]);
  assert.deepEqual(log, ["once", "later"]);
  let beat;
  s.on("heartbeat", (b) => (beat = b));
  FakeWebSocket.last().bin("h00ff00000010");
  assert.deepEqual(beat, { time: new Date(16000), load: 255 });
  assert.equal(s.emit("open", s), true);
  assert.deepEqual(log, ["once", "later", "later"]);
  assert.equal(s.listeners("open").length, 1);
  s.removeAllListeners("open");
  assert.equal(s.emit("open", s), false);
  s.removeAllListeners();
  assert.equal(s.listeners("heartbeat").length, 0);
  assert.throws(() => s.on("open"), TypeError);
  assert.throws(() => s.once("open", {}), TypeError);
});

test("the queue: bounded, in order, and nothing that was given up is sent", async (t) => {
  const s = sock(t, { sendBufferLimit: 4 });
  const control = new AbortController();
  const gone = s.request("gone", 1, { signal: control.signal });
  const late = s.request("late", 1, { timeout: 50 });
  s.notify("a");
  const kept = s.request("kept");
  assert.throws(() => s.notify("b"), /^Error: socket is closed$/);
  await assert.rejects(s.request("c"), /^Error: socket is closed$/);
  control.abort(new Error("changed my mind"));
  await assert.rejects(gone, /changed my mind/);
  t.mock.timers.tick(50);
  await assert.rejects(late, { code: "deadline_exceeded" });
  s.notify("d");
  s.open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01");
  assert.deepEqual(ws.take().slice(3), ["n001a00000000", "r0002004kept00000000", "n001d00000000"]);
  ws.bin("R000200000000");
  assert.equal(await kept, null);
});

test("AbortSignal and timeout", async (t) => {
  const [s, ws] = connected(t);
  await assert.rejects(s.request("never", 1, { signal: AbortSignal.abort(new Error("before")) }), /before/);
  assert.deepEqual(ws.take(), []);
  const control = new AbortController();
  const a = s.request("a", null, { signal: control.signal });
  const b = s.bufferRequest("b", "x", { timeout: 200 });
  const ok = s.request("ok", null, { signal: control.signal, timeout: 200 });
  ws.bin("R000200000001", "1");
  assert.equal(await ok, 1);
  control.abort();
  await assert.rejects(a, { name: "AbortError" });
  t.mock.timers.tick(199);
  ws.bin("R000000000001", "9"); // too late, and for nobody
  t.mock.timers.tick(1);
  await assert.rejects(b, { code: "deadline_exceeded", message: "request timed out after 200 ms" });
  ws.bin("E000100000001", "x");
  const c = s.request("c", undefined, { timeout: Infinity });
  t.mock.timers.tick(10);
  ws.bin("R000300000001", "3");
  assert.equal(await c, 3);
});

test("RetryResult: waits as told, with a limit, and not past an abort, a timeout or the connection", async (t) => {
  const [s, ws] = connected(t);
  const refuse = (id, wait = 100) => ws.bin(`e${id}${wait.toString(16).padStart(8, "0")}00000004`, "busy");
  const p = s.request("op", 1);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(ws.takeMessages(), [`r000${i}002op00000001`, '"1"']);
    refuse("000" + i);
    t.mock.timers.tick(99);
    assert.deepEqual(ws.takeMessages(), []);
    t.mock.timers.tick(1);
  }
  ws.take();
  refuse("0003");
  await assert.rejects(p, { message: "busy", code: "unavailable" });

  const never = s.request("op", 1, { retries: 0 });
  refuse("0004");
  await assert.rejects(never, /busy/);

  const control = new AbortController();
  const aborted = s.request("op", 1, { signal: control.signal });
  const late = s.request("op", 1, { timeout: 250 });
  const lost = s.request("op", 1);
  t.mock.timers.tick(100); // for the peer's hello, which says whether it can be told of the timeout
  ws.take();
  for (const id of ["0005", "0006", "0007"]) refuse(id, 0xffffffff);
  control.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(late, { code: "unavailable", message: "busy" }, "the wait would end after the deadline");
  s.end();
  assert.deepEqual(ws.takeMessages(), [], "a request that waits is pending");
  ws.closed(1006);
  await assert.rejects(lost, /#1006/);
  t.mock.timers.tick(100000);
  assert.deepEqual(ws.take(), []);
});

test("a wait for a retry is at most a minute", (t) => {
  const [s, ws] = connected(t);
  s.heartbeatInterval = 0;
  s.request("op", 1).catch(() => {});
  ws.take();
  ws.bin("e0000ffffffff00000000");
  t.mock.timers.tick(59999);
  assert.deepEqual(ws.takeMessages(), []);
  t.mock.timers.tick(1);
  assert.equal(ws.takeMessages()[0], "r0001002op00000001");
});
