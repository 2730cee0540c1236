// The script that a Go server serves, in a real browser, against that server.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { join } from "node:path";
import { connectedTo, lastingAddress, launch, open, Program, root, until } from "./support.mjs";

let browser, context, program, server;

before(async () => {
  program = new Program("./js/browser/server");
  server = await program.start("-dist", join(root, "js/dist"));
  browser = await launch();
  context = await browser.newContext();
});
after(async () => {
  await browser?.close();
  program?.remove();
});
afterEach(async () => {
  const problems = context.pages().flatMap((p) => p.problems);
  for (const p of context.pages()) await p.close();
  await context.setOffline(false);
  assert.deepEqual(problems, []);
});

const connected = (url = server.url) => connectedTo(context, url);

const opened = (page, times) =>
  page.waitForFunction((n) => events.filter((e) => e == "open").length >= n, times);

test("requests both ways", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    gotalk.handle("add", ([a, b]) => a + b);
    gotalk.handle("later", async (v) => ({ later: v }));
    gotalk.handle("old", (v, result) => result({ old: v }));
    gotalk.handle("fails", (v) => { throw new gotalk.GotalkError("not " + v); });
    gotalk.handleBufferRequest("upper", (b) => new TextDecoder().decode(b).toUpperCase());
    const call = async (s) => String(await sock.bufferRequest("call", s).then((b) => new TextDecoder().decode(b), (e) => "error " + e.message));
    return {
      json: await sock.request("double", 21),
      callback: await new Promise((resolve) => sock.request("double", 4, (err, v) => resolve([err, v]))),
      error: await sock.request("fail", "because").catch((e) => [e instanceof Error, e.message]),
      unknown: await sock.request("nosuch").catch((e) => e.message),
      add: await call("add [1,2]"),
      later: await call("later 3"),
      old: await call('old "x"'),
      fails: await call("fails 1"),
      upper: await call("upper shout"),
      nosuch: await call("nosuch"),
    };
  });
  await until(() => page.problems.length);
  assert.match(page.problems.shift(), /^gotalk: .*not 1/); // told to who develops the page
  assert.deepEqual(got, {
    json: 42, callback: [null, 8], error: [true, "because"], unknown: 'unknown operation "nosuch"', add: "3", later: '{"later":3}',
    old: '{"old":"x"}', fails: "error not 1", upper: "SHOUT", nosuch: 'error no such operation "nosuch"',
  });
});

test("streams both ways", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const answer = (parts) => new Promise((resolve) => {
      const s = sock.streamRequest("echo"), chunks = [];
      s.on("data", (b) => chunks.push(typeof b == "string" ? b : new TextDecoder().decode(b)));
      s.on("end", (err) => resolve([...chunks, err && err.message]));
      for (const p of parts) s.write(p);
      s.end();
    });
    gotalk.handleStreamRequest("page-echo", (s) => {
      s.on("data", (b) => s.write(b));
      s.on("end", () => s.end());
    });
    gotalk.handleStreamRequest("page-fails", (s) => s.error("no more"));
    const call = (v) => sock.bufferRequest("call-stream", v).then((b) => new TextDecoder().decode(b), (e) => "error " + e.message);
    return {
      echo: await answer(["a", new Uint8Array([0xf0, 0x9f, 0x98, 0x80]), "c"]),
      empty: await answer([]),
      failed: await answer(["a", "fail"]),
      served: await call("page-echo one two three"),
      refused: await call("page-fails one two"),
      nosuch: await call("nosuch one"),
      still: await sock.request("double", 1),
    };
  });
  assert.deepEqual(got, {
    echo: ["a", "😀", "c", null], empty: [null], failed: ["a", "told to fail"], served: "one|two|three|", refused: "error no more",
    nosuch: 'error no such operation "nosuch"', still: 2,
  });
});

test("notifications, in order", async () => {
  const page = await connected();
  const got = await page.evaluate(() => new Promise((resolve) => {
    const got = [];
    gotalk.handleNotification("noted", (v) => got.push(v) == 100 && resolve(got));
    for (let i = 0; i < 100; i++) sock.notify("note", i);
  }));
  assert.deepEqual(got, [...Array(100).keys()]);
});

test("any text and every BufferSource arrives as it was", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const sources = { ArrayBuffer: all.buffer };
    for (const type of [
      Uint8Array, Int8Array, Uint8ClampedArray, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array, Float64Array,
      BigInt64Array, BigUint64Array, DataView,
    ]) sources[type.name] = new type(all.buffer, 8, type == DataView ? 16 : 16 / type.BYTES_PER_ELEMENT);
    const failed = [];
    for (const [name, v] of Object.entries(sources)) {
      const b = await sock.bufferRequest("echo", v);
      const want = name == "ArrayBuffer" ? all : all.subarray(8, 24);
      if (!(b instanceof Uint8Array) || String(b) != String(want)) failed.push([name, String(b)]);
    }
    for (const text of ["😀", "\0", "a\0😀\u{10ffff}ä\ud7ff\ue000", "👩‍👧‍👦".repeat(1000)]) {
      if (new TextDecoder().decode(await sock.bufferRequest("echo", text)) != text) failed.push(text);
      if ((await sock.request("echo", { text })).text != text) failed.push({ text });
      if (await sock.request("😀\0", text) != text) failed.push(text);
    }
    for (const nothing of [undefined, null, "", new Uint8Array()]) {
      if ((await sock.bufferRequest("echo", nothing)) !== undefined) failed.push(nothing);
    }
    return failed;
  });
  assert.deepEqual(got, []);
});

test("operations may have any name", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const got = [];
    for (const op of ["constructor", "__proto__", "toString"]) {
      got.push(await sock.request(op, op));
      // The page has no such handler yet, whatever objects have by nature; then it has.
      got.push(await sock.bufferRequest("call", op + " 1").catch((e) => e.message));
      gotalk.handle(op, (v) => v + 1);
      got.push(await sock.bufferRequest("call", op + " 1").then((b) => new TextDecoder().decode(b)));
    }
    const tooLong = await sock.request("é".repeat(2048), 1).catch((e) => e.message);
    return { got, tooLong, still: await sock.request("double", 1) };
  });
  assert.deepEqual(got.got, ["constructor", "__proto__", "toString"].flatMap((op) => [op, `no such operation "${op}"`, "2"]));
  assert.match(got.tooLong, /longer than 4095 bytes/);
  assert.equal(got.still, 2);
});

test("a payload of 5 MB", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const b = new Uint8Array(5e6);
    for (let i = 0; i < b.length; i++) b[i] = i * 7 + (i >> 8);
    const [big, small] = await Promise.all([sock.bufferRequest("echo", b), sock.request("double", 1)]);
    return [big.length, big.every((v, i) => v == b[i]), small];
  });
  assert.deepEqual(got, [5e6, true, 2]);
});

test("1,000 requests of one tick take few WebSocket messages", async () => {
  const page = await connected();
  const [joined, old] = await page.evaluate(async () => {
    let sent = 0, received = 0;
    class Counted extends WebSocket {
      constructor(url) {
        super(url);
        this.addEventListener("message", () => received++);
      }
      send(data) {
        sent++;
        super.send(data);
      }
    }
    const burst = async (options) => {
      const s = new gotalk.Sock({ WebSocket: Counted, ...options }).open();
      await s.request("double", 1);
      sent = received = 0;
      const all = [];
      for (let i = 0; i < 1000; i++) all.push(s.request("double", i));
      const right = (await Promise.all(all)).every((v, i) => v == 2 * i);
      s.end();
      return { right, sent, received };
    };
    // Without hello it is as with old servers: header and payload are messages of their own.
    return [await burst(), await burst({ noExtensions: true })];
  });
  assert.equal(joined.right, true);
  assert.ok(joined.sent > 0 && joined.sent <= 20, `${joined.sent} WebSocket messages to the server`);
  // How many answers share a message depends on how the handlers are scheduled; mostly it is a handful for all.
  assert.ok(joined.received > 0 && joined.received < 1000, `${joined.received} WebSocket messages from the server`);
  assert.equal(old.right, true);
  assert.ok(old.sent >= 2000, `${old.sent} messages`);
  assert.ok(old.received >= 2000, `${old.received} messages`);
});

test("connects again when the server was killed and is back", async () => {
  const other = await program.start("-addr", await lastingAddress());
  const page = await connected(other.url);
  assert.equal(await page.evaluate(() => sock.request("double", 1)), 2);
  await other.stop();
  await page.waitForFunction(() => events.includes("close"));
  // Asked for while there is no connection, answered when there is.
  const pending = page.evaluate(() => sock.request("double", 2));
  const again = await program.start("-addr", "127.0.0.1:" + other.port);
  await opened(page, 2);
  assert.equal(await pending, 4);
  assert.equal(await page.evaluate(() => sock.bufferRequest("echo", "x").then((b) => String.fromCharCode(...b))), "x");
  await again.stop();
});

test("notices that it is online again", async () => {
  const other = await program.start("-addr", await lastingAddress());
  const page = await connected(`http://gotalk.test:${other.port}`);
  await context.setOffline(true);
  await page.waitForFunction(() => !navigator.onLine);
  await other.stop(); // of which the page may hear or not
  const again = await program.start("-addr", "127.0.0.1:" + other.port);
  await context.setOffline(false);
  await opened(page, 2);
  assert.equal(await page.evaluate(() => sock.request("double", 2)), 4);
  await again.stop();
});

test("pages of other sites are refused unless they are allowed", async () => {
  const connect = (page, url) => page.evaluate((url) => new Promise((resolve) => {
    gotalk.open(url, (err, sock) => (err ? resolve(err.message) : sock.request("double", 1).then(resolve)));
  }), url);
  const site = await program.start();
  const allowing = await program.start("-allow", "https://example.com," + site.url);
  const page = await open(context, site.url);
  assert.equal(await connect(page, `ws://127.0.0.1:${site.port}/gotalk/`), 2);
  assert.equal(await connect(page, `ws://127.0.0.1:${allowing.port}/gotalk/`), 2);
  assert.equal(await connect(page, server.url + "/gotalk/"), "connection failed: #1006 (abnormal)");
  await until(() => page.problems.length);
  assert.match(page.problems.splice(0).join(), /^WebSocket connection to [^,]*403[^,]*$/);

  const sameMachine = await open(context, `http://localhost:${server.port}`);
  assert.equal(await connect(sameMachine, server.url + "/gotalk/"), "connection failed: #1006 (abnormal)");
  await until(() => sameMachine.problems.length);
  assert.match(sameMachine.problems.splice(0).join(), /^WebSocket connection to [^,]*403[^,]*$/);
  await site.stop();
  await allowing.stop();
});

test("a page that is refused learns why", async () => {
  const page = await open(context, server.url);
  const why = await page.evaluate(() =>
    new Promise((resolve) => gotalk.open("/refusing/").on("close", (err) => resolve(err.message))));
  assert.equal(why, "websocket closed: #4401 (log in first)");
});

test("loads as script, from wherever it is mounted", async () => {
  for (const [path, address] of [["/", "/gotalk/"], ["/other", "/other/mount/"]]) {
    const page = await open(context, server.url + path);
    const got = await page.evaluate(async () => [
      gotalk.defaultResponderAddress, gotalk.developmentMode,
      await new Promise((resolve) => gotalk.open((err, s) => resolve(err || s.request("double", 1)))),
      Object.keys(window).filter((k) => /gotalk/i.test(k)),
    ]);
    assert.deepEqual(got, [`ws://127.0.0.1:${server.port}${address}`, true, 2, ["gotalk"]]);
  }
});

test("loads as module", async () => {
  const page = await open(context, server.url + "/module");
  await page.waitForFunction(() => window.loaded);
  const got = await page.evaluate(async () => {
    const { gotalk, Sock, version } = loaded;
    const sock = gotalk.connection("/gotalk/");
    return [sock instanceof Sock, version == gotalk.version, await sock.request("double", 1), "gotalk" in window];
  });
  assert.deepEqual(got, [true, true, 2, false]);

  const other = await open(context, server.url + "/script-as-module");
  await other.waitForFunction(() => window.gotalk);
  assert.equal(await other.evaluate(() => gotalk.connection("/gotalk/").request("double", 3)), 6);
});

test("the page survives being left and come back to", async () => {
  const page = await connected();
  await page.goto(server.url + "/other");
  await page.goBack();
  const kept = await page.evaluate(() => !!window.sock);
  if (!kept) await page.evaluate(() => void (window.sock = gotalk.connection()));
  assert.equal(await page.evaluate(() => sock.request("double", 5)), 10);
});
