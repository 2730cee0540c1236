// How calls between a page and a Go server end: by cancel, deadline, error, retry. And what they carry along.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { connectedTo, launch, Program, spread } from "./support.mjs";

let browser, context, program, server, next;

before(async () => {
  program = new Program("./js/browser/server");
  next = await program.start();
  server = await program.start("-next", `ws://127.0.0.1:${next.port}/gotalk/`);
  browser = await launch();
  context = await browser.newContext();
  // What the tests do in every page: see an error as a value.
  await context.addInitScript(() => {
    window.tell = (promise) => promise.then(
      (value) => ({ value }),
      (e) => ({ name: e.name, message: e.message, code: e.code, details: e.details, is: e instanceof gotalk.GotalkError }),
    );
    window.aborted = (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve));
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

const connected = (url = server.url) => connectedTo(context, url);

test("a request that the page cancels ends in Go", async (t) => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const took = [], returned = [], seen = new Set();
    for (let i = 0; i < 50; i++) {
      const c = new AbortController(), name = "cancel " + i;
      const call = tell(sock.request("wait", name, { signal: c.signal }));
      await sock.request("await", name + " started");
      const at = Date.now();
      c.abort();
      const { name: error } = await call;
      returned.push(Date.now() - at);
      const ended = await sock.request("await", name + " ended");
      took.push(ended.at - at);
      seen.add(error + ", " + ended.what);
    }
    const reason = await tell(sock.request("wait", "x", { signal: AbortSignal.abort(new RangeError("no need")) }));
    return { took, returned, seen: [...seen], reason, still: await sock.request("double", 4) };
  });
  t.diagnostic(`from abort to the end of the Go context: ${spread(got.took)} ms, to the page's catch: ${spread(got.returned)} ms`);
  assert.deepEqual(got.seen, ["AbortError, canceled"]);
  assert.deepEqual([got.reason.name, got.reason.message], ["RangeError", "no need"]);
  assert.equal(got.still, 8);
});

test("a request whose time is over ends on both sides", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    // Long enough for the handlers to begin, on any machine.
    const timeout = 1000;
    const wait = (name, options) => tell(sock.request("wait", name, options));
    const [timed, signal, both] = await Promise.all([
      wait("timeout", { timeout }),
      wait("signal", { signal: AbortSignal.timeout(timeout) }),
      wait("both", { timeout, signal: AbortSignal.timeout(600000) }),
    ]);
    return {
      timeout: timed,
      ended: (await sock.request("await", "timeout ended")).what,
      signal,
      signalled: (await sock.request("await", "signal ended")).what,
      both,
      inTime: await sock.request("double", 2, { timeout: 60000 }),
    };
  });
  assert.deepEqual([got.timeout.code, got.timeout.is], ["deadline_exceeded", true]);
  // Whichever is first: its own deadline, or the news that the page has given up.
  assert.match(got.ended, /^(deadline_exceeded|canceled)$/);
  assert.equal(got.signal.name, "TimeoutError");
  assert.equal(got.signalled, "canceled");
  assert.equal(got.both.code, "deadline_exceeded");
  assert.equal(got.inTime, 4);
});

test("a page that is closed, reloaded or left ends what it asked for", async (t) => {
  const watch = await connected();
  const took = [];
  for (const [name, leave] of Object.entries({
    close: (page) => page.close(), reload: (page) => page.reload(), away: (page) => page.goto("about:blank"),
  })) {
    const page = await connected();
    await page.evaluate((name) => {
      tell(sock.request("wait", name));
      window.stream = sock.stream("wait-stream", { value: JSON.stringify(name + " stream") });
    }, name);
    await watch.evaluate((name) => Promise.all([name, name + " stream"].map((n) => sock.request("await", n + " started"))), name);
    const at = Date.now();
    await leave(page);
    const ended = await watch.evaluate((name) => Promise.all([name, name + " stream"].map((n) => sock.request("await", n + " ended"))), name);
    took.push(...ended.map((e) => e.at - at));
    assert.deepEqual(ended.map((e) => e.what.split(" ")[0]), ["canceled", "canceled"], name);
  }
  t.diagnostic(`from leaving the page to the end of the Go context: ${spread(took)} ms`);
});

test("a request that Go cancels aborts the page's signal", async (t) => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const took = [], seen = new Set();
    let ended;
    gotalk.handle("page-wait", async (name, result, op, { signal }) => {
      sock.notify("mark", name);
      await aborted(signal);
      ended = [Date.now(), signal.reason.code];
      throw signal.reason;
    });
    let slow;
    const slowEnded = new Promise((resolve) => (slow = resolve));
    gotalk.handle("page-slow", async (name, result, op, { signal, deadline }) => {
      const left = deadline - Date.now();
      await aborted(signal);
      slow([left, signal.reason.code]);
      return "too late";
    });
    for (let i = 0; i < 50; i++) {
      const name = "go cancel " + i;
      const { error } = await sock.request("ask", { op: "page-wait", value: name, cancelOn: name });
      const { at } = await sock.request("await", name + " cancelled");
      await sock.request("double", 1); // comes behind the cancel
      took.push(ended[0] - at);
      seen.add([ended[1], error.code, error.canceled].join());
    }
    const { error } = await sock.request("ask", { op: "page-slow", timeout: 1000 });
    return { took, seen: [...seen], error, ended: await slowEnded };
  });
  t.diagnostic(`from Go's cancel to the page's abort: ${spread(got.took)} ms`);
  assert.deepEqual(got.seen, ["canceled,canceled,true"]);
  assert.deepEqual([got.error.code, got.error.expired], ["deadline_exceeded", true]);
  const [left, code] = got.ended;
  assert.ok(left > 0 && left <= 1001, `${left} ms left in the page`);
  assert.match(code, /^(deadline_exceeded|canceled)$/);
});

test("a handler's signal aborts when the connection is lost", async () => {
  const other = await program.start();
  const page = await connected(other.url);
  const got = page.evaluate(() => new Promise((resolve) => {
    gotalk.handle("page-wait", async (name, result, op, { signal }) => {
      sock.notify("mark", name);
      await aborted(signal);
      resolve([signal.reason.code, sock.keepalive.isConnected]);
    });
    tell(sock.request("ask", { op: "page-wait", value: "running" }));
  }));
  await page.evaluate(() => sock.request("await", "running"));
  await other.stop();
  assert.deepEqual(await got, ["unavailable", false]);
});

test("a deadline shrinks over two hops, from the very first call on", async (t) => {
  const page = await connectedTo(context, server.url, () => {
    window.sock = gotalk.connection();
    // Before there is a connection, not to mention a hello.
    window.first = sock.request("left-next", null, { timeout: 20000 });
  });
  const got = await page.evaluate(async () => {
    const all = [await first, await sock.request("left-next", null, { timeout: 20000 })];
    for (let i = 0; i < 10; i++) {
      // The connection is open, the hello has not come.
      const s = new gotalk.Sock();
      all.push(await new Promise((resolve, reject) => s.open((err) => {
        if (err) reject(err);
        else s.request("left-next", null, { timeout: 30000 }).then(resolve, reject);
      })));
      s.end();
    }
    const start = Date.now();
    const gone = await tell(sock.request("wait-next", "two hops", { timeout: 200 }));
    return { all, gone, took: Date.now() - start, none: await sock.request("left") };
  });
  t.diagnostic("of 20 and 30 s, left one and two hops on, in ms: " + got.all.map((h) => h.map((n) => n.toFixed(1)).join(" ")).join(", "));
  got.all.forEach(([one, two], i) => {
    const most = i < 2 ? 20000 : 30000;
    assert.ok(one < most && two < Math.min(most, one + 1) && two > 0, `${one} ${two}`); // whole milliseconds travel
  });
  assert.equal(got.gone.code, "deadline_exceeded");
  assert.ok(got.took >= 199, `${got.took} ms`);
  assert.equal(got.none, -1);
});

test("a cancel goes on over two hops", async () => {
  const page = await connected();
  const other = await connected(next.url);
  const call = page.evaluate(() => {
    window.c = new AbortController();
    return tell(sock.request("wait-next", "hop", { signal: c.signal }));
  });
  await other.evaluate(() => sock.request("await", "hop started"));
  await page.evaluate(() => c.abort());
  assert.equal((await call).name, "AbortError");
  assert.equal((await other.evaluate(() => sock.request("await", "hop ended"))).what, "canceled");
});

test("metadata both ways", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    gotalk.handle("page-meta", (v, result, op, { meta, deadline, sock: from }) => result([meta, typeof deadline, from == sock]));
    gotalk.handleStream("page-meta-stream", (s) => s.send(JSON.stringify(s.meta)));
    const meta = { traceparent, tracestate: "a=1", "user-key": "ä😀\"" };
    const text = async (stream) => {
      let all = "";
      for await (const b of stream) all += new TextDecoder().decode(b);
      return JSON.parse(all);
    };
    return {
      want: meta,
      there: await sock.request("meta", null, { meta }),
      timed: await sock.request("meta", null, { meta, timeout: 60000 }),
      none: await sock.request("meta"),
      first: await new Promise((resolve, reject) => {
        const s = new gotalk.Sock().open((err) => err ? reject(err) : s.request("meta", null, { meta }).then(resolve, reject));
      }),
      stream: await text(sock.stream("meta-stream", { meta, timeout: 60000 })),
      here: (await sock.request("ask", { op: "page-meta", meta, timeout: 60000 })).value,
      nothing: (await sock.request("ask", { op: "page-meta" })).value,
      hereStream: JSON.parse((await sock.request("open", { op: "page-meta-stream", meta })).value[0]),
      many: await Promise.all(Array.from({ length: 100 }, (_, i) =>
        sock.request("meta", null, i % 2 ? { meta: { i: "" + i } } : {}).then((m) => (m ? m.i == i : i % 2 == 0)))),
      most: (await sock.request("meta", null, { meta: { big: "x".repeat(16300) }, timeout: 60000 })).big.length,
      tooMuch: await tell(sock.request("meta", null, { meta: { big: "ä".repeat(9000) } })),
      tooMuchStream: await tell((async () => sock.stream("copy", { meta: { big: "ä".repeat(9000) } }))()),
      open: events,
      still: await sock.request("meta", null, { meta: { small: "" } }),
    };
  });
  for (const key of ["there", "timed", "first", "hereStream"]) assert.deepEqual(got[key], got.want, key);
  assert.deepEqual(got.none, null);
  assert.deepEqual(got.stream.meta, got.want);
  assert.ok(got.stream.left > 0 && got.stream.left <= 60000);
  assert.deepEqual(got.here, [got.want, "number", true]);
  assert.deepEqual(got.nothing, [{}, "undefined", true]);
  assert.ok(got.many.every(Boolean));
  assert.equal(got.most, 16300);
  assert.equal(got.tooMuch.code, "resource_exhausted");
  assert.equal(got.tooMuchStream.code, "resource_exhausted");
  assert.deepEqual(got.open, ["open"], "the connection has nothing to do with it");
  assert.deepEqual(got.still, { small: "" });
});

test("errors with codes and details both ways", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const fail = (f) => tell(sock.request("fail-with", f));
    gotalk.handle("page-fails", async ([message, code, details]) => { throw new gotalk.GotalkError(message, code, details); });
    gotalk.handle("page-throws", async () => { throw new Error("plain"); });
    gotalk.handle("page-answers", (v, result) => result.error({ message: "no error class", code: "aborted" }));
    const ask = async (op, value) => (await sock.request("ask", { op, value })).error;
    return {
      coded: await fail({ code: "not_found", message: "no such user", details: { id: 7, "ä": [null, "😀"] } }),
      own: await fail({ code: "out_of_paper", message: "load some" }),
      wrapped: await fail({ code: "aborted", message: "inner", wrap: "outer" }),
      plain: await fail({ message: "just text" }),
      braces: await fail({ message: '{"code":"fake","message":"it is text"}' }),
      empty: await fail({ code: "internal", message: "" }),
      unknown: await tell(sock.request("nosuch")),
      panicked: await tell(sock.request("panic")),
      parameter: await tell(sock.request("await", { not: "a string" })),
      page: await ask("page-fails", ["gone for good", "data_loss", { since: 1999 }]),
      pageOwn: await ask("page-fails", ["hm", "out_of_paper"]),
      pagePlain: await ask("page-throws"),
      pageAnswers: await ask("page-answers"),
      pageUnknown: await ask("page-nosuch"),
    };
  });
  const js = (code, message, details) => ({ name: "Error", message, code, ...(details && { details }), is: true });
  const compact = (o) => JSON.parse(JSON.stringify(o));
  assert.deepEqual(compact(got.coded), js("not_found", "no such user", { id: 7, "ä": [null, "😀"] }));
  assert.deepEqual(compact(got.own), js("out_of_paper", "load some"));
  assert.deepEqual([got.wrapped.code, got.wrapped.message], ["aborted", "outer: aborted: inner"]);
  assert.deepEqual(compact(got.plain), js("unknown", "just text"));
  assert.deepEqual(compact(got.braces), js("unknown", '{"code":"fake","message":"it is text"}'));
  assert.equal(got.empty.code, "internal");
  assert.deepEqual([got.unknown.code, got.unknown.message], ["unimplemented", 'unknown operation "nosuch"']);
  assert.deepEqual([got.panicked.code, got.panicked.message], ["internal", "internal error"]);
  assert.equal(got.parameter.code, "invalid_argument");
  assert.deepEqual(got.page, { code: "data_loss", message: "gone for good", details: { since: 1999 } });
  assert.deepEqual(got.pageOwn, { code: "out_of_paper", message: "hm" });
  assert.deepEqual(got.pagePlain, { code: "unknown", message: "plain" });
  assert.deepEqual(got.pageAnswers, { code: "aborted", message: "no error class" });
  assert.deepEqual(got.pageUnknown, { code: "unimplemented", message: 'no such operation "page-nosuch"' });
});

test("who asks for another try gets it, both ways", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const tries = {};
    gotalk.handle("page-busy", async ({ name, times, wait }) => {
      tries[name] = (tries[name] || 0) + 1;
      if (tries[name] <= times) throw gotalk.retryAfter(wait, "later");
      return "done";
    });
    const busy = async (name, times, options, wait = 1) => {
      const r = await tell(sock.request("busy", { name, times, wait }, options));
      return [r.value || r.code, r.message, await sock.request("count", name)];
    };
    const ask = async (name, times, timeout, wait = 1) => {
      const { value, error } = await sock.request("ask", { op: "page-busy", value: { name, times, wait }, timeout });
      return [value || error.code, error && error.message, tries[name]];
    };
    const c = new AbortController();
    const waiting = tell(sock.request("busy", { name: "cancelled", times: 9, wait: 60000 }, { signal: c.signal }));
    while (!(await sock.request("count", "cancelled"))) ;
    await sock.request("double", 1); // comes behind the answer
    c.abort();
    const calls = {
      twice: busy("twice", 2),
      often: busy("often", 9),
      once: busy("once", 1, { retries: 0 }),
      timed: busy("timed", 4, { timeout: 60000 }),
      hopeless: busy("hopeless", 1, { timeout: 30000 }, 60000),
      cancelled: waiting.then((r) => r.name),
      askTwice: ask("twice", 2),
      askOften: ask("often", 9),
      askTimed: ask("timed", 4, 60000),
      askHopeless: ask("hopeless", 1, 30000, 60000),
    };
    const got = {};
    for (const [name, call] of Object.entries(calls)) got[name] = await call;
    return got;
  });
  assert.deepEqual(got.twice, ["done", undefined, 3]);
  assert.deepEqual(got.often, ["unavailable", "busy for the 4. time", 4]);
  assert.deepEqual(got.once, ["unavailable", "busy for the 1. time", 1]);
  assert.deepEqual(got.timed, ["done", undefined, 5]);
  assert.deepEqual(got.hopeless, ["unavailable", "busy for the 1. time", 1]);
  assert.equal(got.cancelled, "AbortError");
  assert.deepEqual(got.askTwice, ["done", null, 3]);
  assert.deepEqual(got.askOften, ["unavailable", "later", 3]);
  assert.deepEqual(got.askTimed, ["done", null, 5]);
  assert.deepEqual(got.askHopeless, ["unavailable", "later", 1]);
});

test("a page that says no hello gets protocol 1", async () => {
  const page = await connected();
  const got = await page.evaluate(async () => {
    const names = [];
    class Watched extends WebSocket {
      constructor(url) {
        super(url);
        this.addEventListener("message", ({ data }) =>
          names.push(...((typeof data == "string" ? data : new TextDecoder().decode(data)).match(/gotalk:\w+/g) || [])));
      }
    }
    const old = new gotalk.Sock({ noExtensions: true, WebSocket: Watched });
    await new Promise((resolve, reject) => old.open((err) => (err ? reject(err) : resolve())));
    const c = new AbortController();
    const cancelled = tell(old.request("wait", "old", { signal: c.signal }));
    await sock.request("await", "old started");
    c.abort();
    const stream = old.stream("copy");
    stream.send("x".repeat(100000)); // there is no window
    stream.end();
    let size = 0;
    for await (const b of stream) size += b.length;
    const got = {
      coded: await tell(old.request("fail-with", { code: "not_found", message: "no such user", details: 1 })),
      empty: await tell(old.request("fail-with", { code: "not_found", message: "" })),
      braces: await tell(old.request("fail-with", { message: '{"code":"fake","message":"it is text"}' })),
      unknown: await tell(old.request("nosuch")),
      meta: await old.request("meta", null, { meta: { a: "b" }, timeout: 60000 }),
      left: await old.request("left", null, { timeout: 60000 }),
      late: await tell(old.request("wait", "old late", { timeout: 50 })),
      cancelled: (await cancelled).name,
      size,
      failed: await tell((async () => {
        const s = old.stream("fail-after-two");
        for (const x of "abc") s.send(x);
        for await (const _ of s) ;
      })()),
      still: await old.request("double", 1),
      names,
    };
    old.end();
    got.ended = (await sock.request("await", "old ended")).what; // by the end of the connection only
    return got;
  });
  const text = ({ message, code, details }) => [message, code, details];
  assert.deepEqual(text(got.coded), ["no such user", "unknown", undefined]);
  assert.deepEqual(text(got.empty), ["not_found", "unknown", undefined]);
  assert.deepEqual(text(got.braces), ['{"code":"fake","message":"it is text"}', "unknown", undefined]);
  assert.deepEqual(text(got.unknown), ['unknown operation "nosuch"', "unknown", undefined]);
  assert.equal(got.meta, null);
  assert.equal(got.left, -1);
  assert.equal(got.late.code, "deadline_exceeded");
  assert.equal(got.cancelled, "AbortError");
  assert.equal(got.size, 100000);
  assert.deepEqual(text(got.failed), ["two are enough", "unknown", undefined]);
  assert.equal(got.still, 2);
  assert.deepEqual(got.names, []);
  assert.equal(got.ended, "canceled");
});
