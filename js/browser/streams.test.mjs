// Streams between a page and a Go server.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { connectedTo, launch, Program } from "./support.mjs";

let browser, context, program, server;

before(async () => {
  program = new Program("./js/browser/server");
  server = await program.start();
  browser = await launch();
  context = await browser.newContext();
  await context.addInitScript(() => {
    window.text = (b) => new TextDecoder().decode(b);
    // What comes, and how it ends.
    window.all = async (chunks, show = text) => {
      const got = [];
      try {
        for await (const c of chunks) got.push(show(c));
        return got;
      } catch (e) {
        return [...got, e.code || e.name, e.message];
      }
    };
    window.codeOf = (promise) => promise.then(() => "fine", (e) => e.code || e.name);
    // A promise to resolve later.
    window.later = () => {
      let resolve;
      return Object.assign(new Promise((r) => (resolve = r)), { resolve });
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

const connected = () => connectedTo(context, server.url);

test("a stream of the page's", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const echo = async (parts, options) => {
      const s = sock.stream("copy", options);
      for (const p of parts) s.send(p);
      s.end();
      return all(s);
    };
    const turns = [];
    const s = sock.stream("copy"), chunks = s[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) {
      await s.send("turn " + i);
      turns.push(text((await chunks.next()).value));
    }
    s.end();
    turns.push((await chunks.next()).done, await codeOf(s.send("late")));
    return {
      parts: await echo(["a", new Uint8Array([0xf0, 0x9f, 0x98, 0x80]), "", "c"]),
      value: await echo(["b"], { value: "a" }),
      empty: await echo([]),
      turns,
      json: await (async () => {
        const s = sock.stream("sum", { json: true, value: 1 });
        for (const n of [2, 3, 4]) s.send(n);
        s.end();
        return all(s, (v) => v);
      })(),
      notJSON: await (async () => {
        const s = sock.stream("sum");
        s.send('"text"');
        return all(s);
      })(),
      failed: await (async () => {
        const s = sock.stream("fail-after-two");
        for (const p of "abc") s.send(p);
        const got = await all(s);
        return [...got, await codeOf(s.send("d")), s.signal.reason.code, s.signal.reason.details];
      })(),
      unknown: await all(sock.stream("nosuch")),
      still: await sock.request("double", 1),
    };
  });
  assert.deepEqual(got, {
    parts: ["a", "😀", "c"], value: ["a", "b"], empty: [], turns: ["turn 0", "turn 1", "turn 2", true, "aborted"],
    json: [1, 3, 6, 10],
    notJSON: ["invalid_argument", "unexpected part of a stream: json: cannot unmarshal string into Go value of type int"],
    failed: ["a", "b", "out_of_range", "two are enough", "out_of_range", "out_of_range", { most: 2 }],
    unknown: ["unimplemented", 'unknown operation "nosuch"'], still: 2,
  });
});

test("a stream of Go's", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    gotalk.handleStream("copy", async (s) => {
      for await (const b of s) await s.send(b);
    });
    gotalk.handleStream("sum", async (s) => {
      let total = 0;
      for await (const n of s) await s.send((total += n));
    }, { json: true });
    gotalk.handleStream("fail-after-two", async (s) => {
      let n = 0;
      for await (const b of s) {
        await s.send(b);
        if (++n == 2) throw new gotalk.GotalkError("two are enough", "out_of_range", { most: 2 });
      }
    });
    gotalk.handleStream("fails", async () => { throw new Error("plain"); });
    gotalk.handleStream("unread", async (s) => { await s.send("not interested"); });
    gotalk.handleStream("one", async (s) => {
      for await (const b of s) return s.send(b); // leaves the rest
    });
    gotalk.handleStream("after", async (s) => {
      const n = (await all(s)).length;
      await s.send("had " + n); // what Go sends has ended long ago
    });
    const open = async (op, parts) => {
      const { value, error } = await sock.request("open", { op, parts });
      return error ? [...value, error.code, error.message, error.details] : value;
    };
    return {
      parts: await open("copy", ["a", "😀", "c"]),
      empty: await open("copy", []),
      json: await open("sum", ["1", "2", "3"]),
      failed: await open("fail-after-two", ["a", "b", "c"]),
      fails: await open("fails", ["a"]),
      unread: await open("unread", ["a", "b"]),
      one: await open("one", ["a", "b", "c"]),
      after: await open("after", ["a", "b"]),
      unknown: await open("nosuch", ["a"]),
      still: await sock.request("double", 1),
    };
  });
  const fails = (...a) => [...a].concat(undefined).slice(0, a.length + 1);
  assert.deepEqual(got, {
    parts: ["a", "😀", "c"], empty: [], json: ["1", "3", "6"], failed: ["a", "b", "out_of_range", "two are enough", { most: 2 }],
    fails: fails("unknown", "plain"), unread: ["not interested"], one: ["a"], after: ["had 2"],
    unknown: fails("unimplemented", 'no such operation "nosuch"'), still: 2,
  });
});

test("pipes of the browser's", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const pack = (...parts) => new ReadableStream({
      start(c) {
        for (const p of parts) c.enqueue(typeof p == "string" ? new TextEncoder().encode(p) : p);
        c.close();
      },
    });
    const through = async (op, from) => {
      const s = sock.stream(op);
      const sent = from.pipeTo(s.writable);
      return [await all(s.readable), await codeOf(sent)];
    };
    const big = new Uint8Array(3e6).map((_, i) => i * 7 + (i >> 8));
    const zipped = await (async () => {
      const s = sock.stream("copy");
      new Blob([big]).stream().pipeThrough(new CompressionStream("gzip")).pipeTo(s.writable);
      return new Uint8Array(await new Response(s.readable.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
    })();
    gotalk.handleStream("upper", (s) =>
      s.readable.pipeThrough(new TextDecoderStream())
        .pipeThrough(new TransformStream({ transform: (t, c) => c.enqueue(t.toUpperCase()) })).pipeTo(s.writable));
    const cut = sock.stream("copy", { value: "a" });
    const reader = cut.readable.getReader();
    const first = text((await reader.read()).value);
    await reader.cancel(new RangeError("enough"));
    const written = sock.stream("wait-stream", { value: '"abort"' });
    await sock.request("await", "abort started");
    await written.writable.abort(new RangeError("no more"));
    return {
      copied: await through("copy", pack("a", "b😀")),
      failed: await through("fail-after-two", pack("a", "b", "c")),
      zipped: zipped.length == big.length && zipped.every((v, i) => v == big[i]),
      served: (await sock.request("open", { op: "upper", parts: ["shout ", "it"] })).value.join(""),
      cut: [first, cut.signal.aborted, String(cut.signal.reason)],
      written: [(await sock.request("await", "abort ended")).what, String(written.signal.reason)],
      isSame: cut.readable == cut.readable && cut.writable == cut.writable,
      still: await sock.request("double", 1),
    };
  });
  assert.deepEqual(got.copied, [["a", "b😀"], "fine"]);
  assert.deepEqual(got.failed[0], ["a", "b", "out_of_range", "two are enough"]);
  assert.equal(got.zipped, true);
  assert.equal(got.served, "SHOUT IT");
  assert.deepEqual(got.cut, ["a", true, "RangeError: enough"]);
  assert.deepEqual(got.written, ["canceled canceled canceled", "RangeError: no more"]);
  assert.equal(got.isSame, true);
  assert.equal(got.still, 2);
});

test("streams are cancelled from either side", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const wait = async (name, options, end) => {
      const s = sock.stream("wait-stream", { value: JSON.stringify(name), ...options });
      await sock.request("await", name + " started");
      end(s);
      const got = await all(s);
      return [...got, await codeOf(s.send("x")), (await sock.request("await", name + " ended")).what];
    };
    const c = new AbortController(), waited = later(), endless = later();
    gotalk.handleStream("page-wait", async (s) => {
      sock.notify("mark", "page waits");
      await new Promise((resolve) => s.signal.addEventListener("abort", resolve)); // whether Go's direction has ended or not
      waited.resolve([s.signal.reason.code, await codeOf(s.send("x"))]);
    });
    gotalk.handleStream("endless", async (s) => {
      for (let i = 0; ; i++) {
        const code = await codeOf(s.send("" + i + " ".repeat(10000)));
        if (code != "fine") return endless.resolve([code, s.signal.reason.code]);
      }
    });
    gotalk.handleStream("cancels", async (s) => {
      await s.send("a");
      s.cancel(new gotalk.GotalkError("not today", "failed_precondition"));
    });
    const left = [];
    for await (const b of sock.stream("produce", { value: JSON.stringify({ Name: "left", Bytes: 1 << 30, Part: 1000 }) })) {
      left.push(b.length);
      if (left.length == 3) break;
    }
    return {
      cancel: await wait("cancel", {}, (s) => s.cancel()),
      reason: await wait("reason", {}, (s) => s.cancel(new RangeError("enough"))),
      signal: await wait("signal", { signal: c.signal }, () => c.abort()),
      timeout: await wait("timeout", { timeout: 1000 }, () => {}), // after the handler has begun, on any machine
      left: [left, (await sock.request("await", "left")).what],
      go: (await sock.request("open", { op: "page-wait", parts: ["a", "b"], cancelOn: "page waits" })).error.code,
      page: await waited,
      goLeft: (await sock.request("open-and-leave", "endless")).slice(0, 1),
      pageLeft: await endless,
      cancels: (({ value, error }) => [...value, error.code, error.message])(await sock.request("open", { op: "cancels", parts: ["a"] })),
      still: await sock.request("double", 1),
    };
  });
  const timeout = got.timeout.splice(-1)[0];
  assert.match(timeout, /^(deadline_exceeded|canceled) /);
  assert.deepEqual(got, {
    cancel: ["canceled", "canceled", "canceled", "canceled canceled canceled"],
    reason: ["RangeError", "enough", "RangeError", "canceled canceled canceled"],
    signal: [20, "signal is aborted without reason", 20, "canceled canceled canceled"],
    timeout: ["deadline_exceeded", "request timed out after 1000 ms", "deadline_exceeded"],
    left: [[1000, 1000, 1000], "canceled"],
    go: "canceled", page: ["canceled", "canceled"],
    goLeft: "0", pageLeft: ["canceled", "canceled"], cancels: ["a", "failed_precondition", "not today"], still: 2,
  });
});

test("old and new kinds of streams meet", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const ask = (op, parts) => new Promise((resolve) => {
      const s = sock.streamRequest(op), got = [];
      s.on("data", (b) => got.push(typeof b == "string" ? b : text(b)));
      s.on("end", (err) => resolve(err ? [...got, err.code, err.message] : got));
      for (const p of parts) s.write(p);
      s.end();
    });
    const open = async (op, parts) => {
      const s = sock.stream(op);
      for (const p of parts) s.send(p);
      s.end();
      return all(s);
    };
    gotalk.handleStream("page-new", async (s) => {
      for await (const b of s) await s.send(b);
    });
    gotalk.handleStreamRequest("page-old", (s) => {
      s.on("data", (b) => s.write(b));
      s.on("end", () => s.end());
    });
    gotalk.handleStreamRequest("page-old-fails", (s) => s.on("data", () => s.error(new gotalk.GotalkError("no", "aborted"))));
    const call = (v) => sock.bufferRequest("call-stream", v).then(text, (e) => e.message);
    return {
      oldToNew: await ask("copy", ["a", "b"]),
      oldToNewEmpty: await ask("copy", []),
      oldToNewFails: await ask("fail-after-two", ["a", "b", "c"]),
      newToOld: await open("echo", ["a", "b"]),
      newToOldEmpty: await open("echo", []),
      newToOldFails: await open("echo", ["a", "fail"]),
      goOldToNew: await call("page-new a b"),
      goOldToOld: await call("page-old a b"),
      goNewToOld: (await sock.request("open", { op: "page-old", parts: ["a", "b"] })).value,
      goNewToOldFails: (await sock.request("open", { op: "page-old-fails", parts: ["a", "b"] })).error.code,
      still: await sock.request("double", 1),
    };
  });
  assert.deepEqual(got, {
    oldToNew: ["a", "b"], oldToNewEmpty: [], oldToNewFails: ["a", "b", "out_of_range", "two are enough"],
    newToOld: ["a", "b"], newToOldEmpty: [], newToOldFails: ["a", "unknown", "told to fail"],
    goOldToNew: "a|b|", goOldToOld: "a|b|", goNewToOld: ["a", "b"], goNewToOldFails: "aborted", still: 2,
  });
});

test("1,000 streams at once, each way, leave nothing behind", async (t) => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const before = await sock.request("goroutines");
    const start = Date.now();
    const streams = Array.from({ length: 1000 }, () => sock.stream("copy"));
    for (const part of ["first ", "second ", "third "]) streams.forEach((s, i) => s.send(part + i));
    const open = await sock.request("goroutines"); // all of them have come
    streams.forEach((s) => s.end());
    const got = await Promise.all(streams.map((s) => all(s)));
    const there = Date.now();
    const right = got.filter((g, i) => g.join() == [`first ${i}`, `second ${i}`, `third ${i}`].join()).length;
    let most = 0, now = 0;
    gotalk.handleStream("page-copy", async (s) => {
      most = Math.max(most, ++now);
      const got = await all(s); // which all have begun when the first has ended
      for (const g of got) await s.send(g);
      now--;
    });
    const served = await sock.request("open-many", { Op: "page-copy", N: 1000 });
    const back = Date.now();
    // Half of them end orderly, the others as they like.
    const mixed = Array.from({ length: 1000 }, (_, i) => {
      const s = sock.stream(["copy", "fail-after-two"][i & 1], { value: "a" });
      s.send("b".repeat(1000));
      if (i & 2) s.cancel();
      else s.end();
      return all(s);
    });
    await Promise.all(mixed);
    while (await sock.request("goroutines") > before + 20) ;
    return { before, open, right, served, most, there: there - start, back: back - there, still: await sock.request("double", 1) };
  });
  t.diagnostic(`1,000 echos of 3 parts: ${got.there} ms; from Go, 2 parts: ${got.back} ms, up to ${got.most} at once`);
  assert.equal(got.right, 1000);
  assert.ok(got.open >= got.before + 1000, `${got.open} goroutines`);
  assert.equal(got.served, 1000);
  assert.equal(got.still, 2);
});
