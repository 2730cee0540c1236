// Operations and streams that this side offers, and streams that it asks for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { latin1 } from "./fake.mjs";
import { connected, gotalk, sock, turn, uncaught } from "./kit.mjs";

/** Calls op with a raw payload and returns what the answer was, as text: "R…", "E…", or "" for none. */
async function ask(ws, op, payload = "") {
  ws.take();
  const size = payload.length.toString(16).padStart(8, "0");
  ws.bin(`rAAAA${op.length.toString(16).padStart(3, "0")}${op}${size}`, ...(payload ? [payload] : []));
  await turn();
  const [head = "", body = ""] = ws.takeMessages();
  return head[0] ? head[0] + (body[0] == '"' ? JSON.parse(body) : body) : "";
}

test("JSON request handlers: by result, by value, by promise, by throwing", async (t) => {
  const [s, ws] = connected(t);
  const h = s.handlers;
  const cases = [
    ["by result", (v, result) => result(v + 1), "R2"],
    ["by result later", (v, result) => void setImmediate(() => result(v)), "R1"],
    ["result.error", (v, result) => result.error(new Error("no ☃ 😀")), "Eno ☃ 😀"],
    ["result.error of a string", (v, result) => result.error("no"), "Eno"],
    ["value", (v) => v + 1, "R2"],
    ["value without parameters", () => ({ a: 1 }), 'R{"a":1}'],
    ["falsy value", (v) => 0, "R0"],
    ["null", (v) => null, "Rnull"],
    ["nothing", (v) => {}, "R"],
    ["promise", async (v) => v + 1, "R2"],
    ["promise of nothing", async () => {}, "R"],
    ["thenable", (v) => ({ then: (ok) => ok(5) }), "R5"],
    ["reject", async () => { throw new Error("async no"); }, "Easync no"],
    ["reject with a string", () => Promise.reject("text"), "Etext"],
    ["throw", () => { throw new Error("secret"); }, "Einternal error"],
    ["throw to be told", () => { throw new gotalk.GotalkError("told"); }, "Etold"],
    ["async with result", async (v, result) => void result(v), "R1"],
    ["async that throws in spite of result", async (v, result) => { throw new Error("x"); }, "Ex"],
    ["a value beside result is nobody's", (v, result) => 7, ""],
    ["no parameters, result later", function () { arguments[1](3); }, "R3"],
    ["no parameters, nothing returned", () => {}, "R"],
    ["two answers", (v, result) => { result(1); result(2); result.error("x"); return 3; }, "R1"],
    ["value that is no JSON", () => 1n, "Einternal error"],
    ["promise of what is no JSON", async () => 1n, "EDo not know how to serialize a BigInt"],
  ];
  for (const [name, fn, want] of cases) {
    h.handleRequest("op", fn);
    assert.equal(await ask(ws, "op", "1"), want, name);
  }
  await turn();
  ws.take();
  h.handleRequest("op", (v, result, op) => [v, op]);
  h.handleRequest("op", (...args) => [args[0] === undefined ? "undefined" : args[0], args[2]]);
  assert.equal(await ask(ws, "op", ""), 'R[null,"op"]');
  assert.equal(await ask(ws, "op", "{"), 'R["undefined","op"]');
  assert.equal(await ask(ws, "op", '"😀"'.replace("😀", "\xf0\x9f\x98\x80")), 'R["😀","op"]');
});

test("buffer request handlers", async (t) => {
  const [s, ws] = connected(t);
  const h = s.handlers;
  h.handleBufferRequest("op", (buf, result, op) => result(buf));
  assert.equal(await ask(ws, "op", "\x00\xff"), "R\x00\xff");
  h.handleBufferRequest("op", (buf) => new Uint16Array([0x6161, 0x6262]));
  assert.equal(await ask(ws, "op"), "Raabb");
  h.handleBufferRequest("op", async (buf) => String(buf));
  assert.equal(await ask(ws, "op"), "Rundefined");
  h.handleBufferRequest("op", (buf) => 5);
  assert.equal(await ask(ws, "op"), "Einternal error");
  h.handleBufferRequest("op", null);
  assert.equal(await ask(ws, "op"), 'Eno such operation "op"');
});

test("fallbacks, replacing, and what find returns", async (t) => {
  const [s, ws] = connected(t);
  const h = s.handlers;
  const a = () => "a";
  h.handleBufferRequest("", (buf, result, op) => result("fallback " + op));
  h.handleBufferRequest("a", a);
  assert.equal(await ask(ws, "a"), "Ra");
  assert.equal(await ask(ws, "b"), "Rfallback b");
  assert.equal(await ask(ws, ""), "Rfallback ");
  assert.equal(h.findRequestHandler("a"), a);
  assert.equal(typeof h.findRequestHandler("anything"), "function");
  assert.equal(h.findNotificationHandler("anything"), undefined);
  const seen = [];
  h.handleBufferNotification("", (buf, name) => seen.push(name));
  h.handleNotification("json", (v, name) => seen.push(v, name));
  ws.bin("n001x00000000", "n004json00000000", "n004json00000001", "{", "n00000000000");
  assert.deepEqual(seen, ["x", null, "json", undefined, "json", ""]);
});

test("a notification handler that throws is reported, and the next message is read", async (t) => {
  const [s, ws] = connected(t);
  const seen = [];
  s.handlers.handleNotification("bad", () => { throw new Error("in handler"); });
  s.handlers.handleNotification("good", () => seen.push("good"));
  assert.deepEqual(await uncaught(() => ws.bin("n003bad00000000n004good00000000")), ["in handler"]);
  assert.deepEqual(seen, ["good"]);
});

test("development mode warns of exceptions and invalid JSON", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const [s, ws] = connected(t);
  s.handlers.handleRequest("throws", () => { throw new Error("secret"); });
  await ask(ws, "throws", "{");
  assert.equal(warn.mock.callCount(), 0);
  gotalk.developmentMode = true;
  t.after(() => (gotalk.developmentMode = false));
  await ask(ws, "throws", "{");
  assert.equal(warn.mock.callCount(), 2);
});

/** A stream request, and what its events say. */
function stream(s, op = "op") {
  const r = s.streamRequest(op);
  const log = [];
  r.on("data", (b) => log.push(typeof b == "string" ? b : latin1(b)));
  r.on("end", (err) => log.push("end " + (err && err.message)));
  return [r, log];
}

test("stream requests: chunks, ends, ids", (t) => {
  const [s, ws] = connected(t);
  const [r, log] = stream(s);
  assert.equal(r.op, "op");
  assert.equal(r.id, "!000");
  assert.deepEqual(ws.take(), [], "nothing before the first write");
  r.write("é");
  r.write(new Uint8Array([1]).buffer);
  r.write("");
  r.write("after the end");
  r.end();
  assert.deepEqual(ws.take(), ["s!000002op00000002", '"é"', "p!00000000001", "\x01", "p!00000000000"]);
  ws.bin("S!00000000001", "a", "S!00000000001", "b", "S!00000000000", "S!00000000001", "c", "E!00000000001", "d");
  assert.deepEqual(log, ["a", "b", "end null"]);
  assert.throws(() => s.streamRequest("op").write(5), TypeError);

  // Without a chunk, the end needs a message of its own behind the beginning.
  const [empty] = stream(s);
  empty.end();
  assert.deepEqual(ws.take(), ["s!002002op00000000", "p!00200000000"]);
});

test("stream requests: how an answer ends", (t) => {
  const [s, ws] = connected(t);
  for (const [reply, want] of [
    [["E!00000000001", "x"], ["end x"]],
    [["E!00000000001", "x", "S!00000000000"], ["end x"]],
    [["R!00000000001", "x"], ["x", "end null"]],
    [["R!00000000000"], ["end null"]],
    [["e!0000000000100000004", "busy"], ["end busy"]],
  ]) {
    const [r, log] = stream(s);
    r.write("1");
    ws.take();
    ws.bin(...reply.map((m) => (m.length > 8 ? m.replace("!000", r.id) : m)));
    assert.deepEqual(log, want);
    r.write("2");
    r.end();
    assert.deepEqual(ws.take(), [], "the peer knows nothing of it any more");
  }
});

test("stream ids are told apart as long as they can be, and go on after a reconnect", (t) => {
  const [s, ws] = connected(t, { heartbeatInterval: 0 });
  const ids = new Set();
  for (let i = 0; i < 46660; i++) {
    const r = s.streamRequest("x");
    ids.add(r.id);
    r.end();
    ws.sent.length = 0;
    ws.bin(`E${r.id}00000000`);
  }
  assert.equal(ids.size, 46660);
  for (const id of ids) assert.match(id, /^[!-/][0-9a-z]{3}$/);
  ws.closed(1000);
  s.open("ws://test/");
  assert.equal(s.streamRequest("x").id, '"004');
});

test("stream requests before the connection is open", (t) => {
  const s = sock(t, { sendBufferLimit: 2 });
  const [r, log] = stream(s);
  r.write("a");
  r.end();
  assert.throws(() => s.streamRequest("full").write("x"), /socket is closed/);
  s.end();
  assert.deepEqual(log, ["end connection closed"]);
});

test("streams answered here: by events", async (t) => {
  const [s, ws] = connected(t);
  const log = [];
  s.handlers.handleStreamRequest("up", (st, op) => {
    log.push(op, st.op, st.id);
    st.on("data", (b) => (log.push(latin1(b)), st.write(latin1(b).toUpperCase())));
    st.on("end", (err) => (log.push("end " + err), st.end()));
  });
  ws.bin("sABCD002up00000002", "ab", "pABCD00000002", "cd", "pABCD00000000", "pABCD00000001", "x");
  assert.deepEqual(log, ["up", "up", "ABCD", "ab", "cd", "end null"]);
  assert.deepEqual(ws.takeMessages(), ["SABCD00000002", '"AB"', "SABCD00000002", '"CD"', "SABCD00000000"]);
  // The id is free again. An empty first chunk is not the end.
  log.length = 0;
  ws.bin("sABCD002up00000000", "pABCD00000001", "x", "pABCD00000000");
  assert.deepEqual(log, ["up", "up", "ABCD", "x", "end null"]);
});

test("streams answered here: async, errors, exceptions", async (t) => {
  const [s, ws] = connected(t);
  const h = s.handlers;
  const run = async (fn) => {
    h.handleStreamRequest("", fn);
    ws.take();
    ws.bin("sABCD001x00000001", "1");
    await turn();
    return ws.takeMessages();
  };
  assert.deepEqual(await run(async (st) => st.write("a")), ["SABCD00000001", '"a"', "SABCD00000000"]);
  assert.deepEqual(await run(async (st) => { throw new Error("no"); }), ["EABCD00000002", '"no"']);
  assert.deepEqual(await run(() => { throw new Error("secret"); }), ["EABCD0000000e", '"internal error"']);
  assert.deepEqual(await run((st) => { st.error("no"); st.write("x"); st.end(); st.error("again"); }), ["EABCD00000002", '"no"']);
  assert.deepEqual(await run((st) => { st.end(); st.end(); st.write("x"); }), ["SABCD00000000"]);
  // Parts of a stream that is over here, which the peer cannot know, are dropped.
  ws.bin("pABCD00000001", "x", "pABCD00000000");
  assert.deepEqual(ws.takeMessages(), []);
  // The id of a stream that goes on cannot be taken by another.
  await run(() => {});
  ws.bin("sABCD001x00000000");
  assert.deepEqual(ws.takeMessages(), ["f00000002", "close 4002"]);
});

test("default handlers", (t) => {
  assert.ok(gotalk.defaultHandlers instanceof gotalk.Handlers);
  const seen = [];
  gotalk.handle("a", () => 1);
  gotalk.handleRequest("b", () => 1);
  gotalk.handleBufferRequest("c", () => "");
  gotalk.handleNotification("d", (v) => seen.push(v));
  gotalk.handleBufferNotification("e", () => {});
  gotalk.handleStreamRequest("f", () => {});
  const h = gotalk.defaultHandlers;
  assert.ok(h.findRequestHandler("a") && h.findRequestHandler("b") && h.findRequestHandler("c"));
  assert.ok(h.findNotificationHandler("d") && h.findNotificationHandler("e") && h.findStreamRequestHandler("f"));
});

test("constructors: with and without new, extended, with options", (t) => {
  const h = gotalk.Handlers();
  assert.ok(h instanceof gotalk.Handlers && new gotalk.Handlers() instanceof gotalk.Handlers);
  for (const s of [gotalk.Sock(h), new gotalk.Sock(h)]) {
    assert.ok(s instanceof gotalk.Sock);
    assert.equal(s.constructor, gotalk.Sock);
    assert.equal(s.handlers, h);
    assert.equal(s.protocol, gotalk.protocol.binary);
    assert.deepEqual([s.heartbeatInterval, s.ws, s.keepalive, s.sendBufferLimit], [20000, null, null, 100]);
  }
  assert.equal(gotalk.Sock(h, gotalk.protocol.text).protocol, gotalk.protocol.text);
  class Mine extends gotalk.Sock {
    hello() {
      return "hello";
    }
  }
  const mine = new Mine({ handlers: h, heartbeatInterval: 5000, protocol: gotalk.protocol.text });
  assert.ok(mine instanceof Mine && mine instanceof gotalk.Sock);
  assert.equal(mine.hello(), "hello");
  assert.deepEqual([mine.handlers, mine.heartbeatInterval, mine.protocol], [h, 5000, gotalk.protocol.text]);
});
