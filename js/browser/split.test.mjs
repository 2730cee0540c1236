// Large payloads between a page and a Go server: they leave in parts, and small messages pass between those.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { connectedTo, launch, Program, spread } from "./support.mjs";

const large = 8 << 20; // bytes
let browser, context, program, server;

before(async () => {
  program = new Program("./js/browser/server");
  server = await program.start();
  browser = await launch();
  context = await browser.newContext();
  await context.addInitScript(() => {
    // What goes over the connection.
    window.wire = { sent: 0, largestSent: 0, largestReceived: 0, onsend() {} };
    window.WebSocket = class extends WebSocket {
      constructor(url) {
        super(url);
        this.addEventListener("message", ({ data }) => (wire.largestReceived = Math.max(wire.largestReceived, data.byteLength)));
      }
      send(data) {
        super.send(data);
        wire.sent += data.byteLength ?? data.length;
        wire.largestSent = Math.max(wire.largestSent, data.byteLength ?? data.length);
        wire.onsend();
      }
    };
    window.bytes = (n) => {
      const b = new Uint8Array(n);
      for (let i = 0; i < n; i++) b[i] = i * 7 + (i >> 8);
      return b;
    };
    window.same = (a, b) => {
      for (let i = 0; i < b.length; i++) if (a[i] != b[i]) return false;
      return a.length == b.length;
    };
  });
});
after(async () => {
  await browser?.close();
  program?.remove();
});
afterEach(async () => {
  const problems = context.pages().flatMap((p) => p.problems);
  for (const p of context.pages()) await p.close();
  assert.deepEqual(problems, []);
});

test("requests and results of both sides arrive as they were, and no message is large", async () => {
  const page = await connectedTo(context, server.url);
  const got = await page.evaluate(async (large) => {
    const b = bytes(large), text = "€é😀".repeat(1e5);
    let calls = 0;
    gotalk.handleBufferRequest("back", (b) => (calls++, b));
    gotalk.handle("reverse", (v) => (calls++, v.reverse()));
    const prefixed = new Uint8Array(b.length + 5);
    prefixed.set(new TextEncoder().encode("back "));
    prefixed.set(b, 5);
    return {
      raw: same(await sock.bufferRequest("echo", b), b),
      json: (await sock.request("echo", { text })).text == text,
      served: same(await sock.bufferRequest("call", prefixed), b),
      servedJSON: (await sock.bufferRequest("call", "reverse " + JSON.stringify([text, 1])).then((b) => JSON.parse(new TextDecoder().decode(b))))[1] == text,
      many: (await Promise.all(Array.from({ length: 20 }, (_, i) => {
        const b = bytes(3e5 + i);
        return sock.bufferRequest("echo", b).then((r) => same(r, b));
      }))).every(Boolean),
      calls,
      wire,
      events,
    };
  }, large);
  assert.deepEqual([got.raw, got.json, got.served, got.servedJSON, got.many, got.calls], [true, true, true, true, true, 2]);
  assert.ok(got.wire.largestSent < 2e5, `${got.wire.largestSent} bytes at once from the page`);
  assert.ok(got.wire.largestReceived < 4e5, `${got.wire.largestReceived} bytes at once to the page`);
  assert.deepEqual(got.events, ["open"]);
});

test("a page without extensions gets and sends large payloads whole", async () => {
  const page = await connectedTo(context, server.url, () => void (window.sock = gotalk.connection(null, { noExtensions: true })));
  const got = await page.evaluate(async () => {
    const b = bytes(1e6);
    return { right: same(await sock.bufferRequest("echo", b), b), wire, events };
  });
  assert.deepEqual([got.right, got.wire.largestSent, got.wire.largestReceived, got.events], [true, 1e6, 1e6, ["open"]]);
});

test("small calls are answered while a large payload leaves", async (t) => {
  const page = await connectedTo(context, server.url);
  const got = await page.evaluate(async (large) => {
    const b = bytes(large), before = wire.sent;
    const took = [];
    let meanwhile = 0, done;
    const answer = sock.bufferRequest("echo", b).finally(() => (done = true));
    while (!done) {
      const start = performance.now();
      await sock.request("double", 1);
      took.push(performance.now() - start);
      if (wire.sent - before < large) meanwhile++;
    }
    return { took, meanwhile, right: same(await answer, b) };
  }, large);
  t.diagnostic(`small calls beside an echo of ${large} bytes: ${spread(got.took)} ms, ${got.meanwhile} while it left`);
  assert.equal(got.right, true);
  assert.ok(got.meanwhile > 0, "answered before all had left");
});

test("a large request that is cancelled stops leaving", async () => {
  const page = await connectedTo(context, server.url);
  const got = await page.evaluate(async (large) => {
    const c = new AbortController(), before = wire.sent;
    wire.onsend = () => wire.sent - before > 1e6 && c.abort();
    const error = await sock.bufferRequest("echo", bytes(large), { signal: c.signal }).then(() => "none", (e) => e.name);
    wire.onsend = () => {};
    const sent = wire.sent - before;
    for (let i = 0; i < 20; i++) await sock.request("double", 1);
    return { error, sent, later: wire.sent - before - sent, still: await sock.request("double", 2), events };
  }, large);
  assert.equal(got.error, "AbortError");
  assert.ok(got.sent < large / 2, `${got.sent} bytes were sent`);
  assert.ok(got.later < 1e5, `and ${got.later} after that`);
  assert.deepEqual([got.still, got.events], [4, ["open"]]);
});

test("a large result of a page's that is cancelled stops leaving", async () => {
  const page = await connectedTo(context, server.url);
  const got = await page.evaluate(async (large) => {
    const before = wire.sent;
    gotalk.handle("large", () => {
      wire.onsend = () => wire.sent - before > 1e6 && wire.stop?.();
      wire.stop = () => (delete wire.stop, sock.notify("mark", "enough"));
      return "x".repeat(large);
    });
    const { error } = await sock.request("ask", { op: "large", cancelOn: "enough" });
    const sent = wire.sent - before;
    for (let i = 0; i < 20; i++) await sock.request("double", 1);
    return { error, sent, later: wire.sent - before - sent, events };
  }, large);
  assert.equal(got.error.canceled, true);
  assert.ok(got.sent + got.later < large * 0.9, `${got.sent} bytes were sent, and ${got.later} after that`);
  assert.deepEqual(got.events, ["open"]);
});
