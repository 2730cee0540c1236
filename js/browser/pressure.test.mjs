// A fast producer and a slow consumer, on either side: what waits between them, and what else the connection does.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { connectedTo, launch, Program, spread } from "./support.mjs";

const windowSize = 256 << 10;
const most = 4 * windowSize;
const GiB = 1 << 30, part = 64 << 10, rate = 1 << 20, seconds = 1.5;

let browser, context, program, server, page, cdp;

before(async () => {
  program = new Program("./js/browser/server");
  server = await program.start();
  browser = await launch();
  context = await browser.newContext();
  await context.addInitScript(() => {
    window.begun = 0;
    window.taken = 0; // by the page's consumer
    window.sent = 0; // by the page's producer
    window.came = 0; // in WebSocket messages
    // Takes nothing until it may, and then so many bytes a second.
    window.consume = async (stream, rate, may) => {
      await may;
      const start = performance.now();
      for await (const b of stream) {
        taken += b.length;
        await new Promise((resolve) => setTimeout(resolve, start + taken / rate * 1000 - performance.now()));
      }
    };
    window.produce = async (stream, bytes, part) => {
      const b = new Uint8Array(part);
      while (sent < bytes) {
        await stream.send(b);
        sent += part;
      }
    };
    // Makes small calls, one after the other, and says how long each took.
    window.calls = async (n, each = () => {}) => {
      const took = [];
      for (let i = 0; i < n; i++) {
        const start = performance.now();
        if ((await sock.request("double", i)) != 2 * i) throw new Error("wrong answer");
        took.push(performance.now() - start);
        await each();
      }
      return took;
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

async function connected() {
  page = await connectedTo(context, server.url);
  await page.evaluate(() => sock.ws.addEventListener("message", (ev) => (came += ev.data.byteLength)));
  cdp = await context.newCDPSession(page);
  // What is only made once is there then, also what the browser's driver puts into the page.
  await page.waitForFunction(() => true);
  await calls(200);
  await page.evaluate(async (part) => {
    const value = (what) => JSON.stringify({ Name: what + Math.random(), Bytes: 64 * part, Part: part, Rate: 1e9 });
    await consume(sock.stream("produce", { value: value("produced") }), 1e9);
    const stream = sock.stream("consume", { value: value("consumed") });
    await produce(stream, 64 * part, part);
    stream.cancel();
    taken = sent = 0;
  }, part);
  return page;
}

const calls = (n) => page.evaluate((n) => calls(n), n);

/**
 * What is reachable in the Go server and in the page, in bytes, its buffers included: the least of three looks, as parts
 * that pass between collecting the garbage and looking leave some.
 */
async function memory() {
  const least = { go: Infinity, page: Infinity };
  for (let i = 0; i < 3; i++) {
    least.go = Math.min(least.go, await page.evaluate(() => sock.request("heap")));
    await cdp.send("HeapProfiler.collectGarbage");
    const { usedSize, backingStorageSize } = await cdp.send("Runtime.getHeapUsage");
    least.page = Math.min(least.page, usedSize + backingStorageSize);
  }
  return least;
}

/**
 * Looks at what waits, while small calls are made: for seconds, and until half of what may be taken in a second was taken.
 * produced and taken are read in the page, taken first.
 */
async function watch(t, before, produced, taken) {
  const start = Date.now();
  const took = [], waits = [], heap = { go: 0, page: 0 };
  for (let enough = false; !enough || Date.now() - start < seconds * 1000; ) {
    const [ms, w, consumed] = await page.evaluate(async ([produced, taken]) => {
      const count = (what) => (what in window ? window[what] : sock.request("count", what));
      const w = [], ms = await calls(20, async () => {
        const t = await count(taken);
        w.push(await count(produced) - t);
        await new Promise((resolve) => setTimeout(resolve, 2));
      });
      return [ms, w, await count(taken)];
    }, [produced, taken]);
    enough = consumed > rate / 2;
    took.push(...ms);
    waits.push(...w);
    const now = await memory();
    for (const side in heap) heap[side] = Math.max(heap[side], now[side] - before[side]);
  }
  const KiB = (n) => Math.round(n / 1024) + " KiB";
  t.diagnostic(`sent and not taken: at most ${KiB(Math.max(...waits))}; heaps grown by at most ${KiB(heap.go)} in Go, ${KiB(heap.page)} in the page`);
  t.diagnostic(`small calls meanwhile: ${spread(took)} ms`);
  assert.ok(Math.max(...waits) <= most, `${Math.max(...waits)} bytes wait`);
  assert.ok(heap.go <= most, `the heap of Go has grown by ${heap.go} bytes`);
  assert.ok(heap.page <= most, `the heap of the page has grown by ${heap.page} bytes`);
}

/** Waits until a producer whose consumer takes nothing sends no more, and returns how much it has sent. */
const stalled = (produced) => page.evaluate(async (produced) => {
  const count = () => (produced in window ? window[produced] : sock.request("count", produced));
  for (let n = -1, same = 0; ; await calls(10)) {
    const now = await count();
    same = now > 0 && now == n ? same + 1 : 0;
    if (same == 10) return now;
    n = now;
  }
}, produced);

test("a Go handler floods a page that takes 1 MiB/s", async (t) => {
  await connected();
  t.diagnostic(`small calls alone: ${spread(await calls(300))} ms`);
  const before = await memory();
  const cameBefore = await page.evaluate(([bytes, part, rate]) => {
    window.stream = sock.stream("produce", { value: JSON.stringify({ Name: "flood", Bytes: bytes, Part: part }) });
    window.done = consume(stream, rate, new Promise((resolve) => (window.go = resolve))).catch((e) => e.code);
    return came;
  }, [GiB, part, rate]);
  const sent = await stalled("flood");
  t.diagnostic(`sent to a page that takes nothing: ${sent} bytes; small calls meanwhile: ${spread(await calls(300))} ms`);
  assert.ok(sent > 0 && sent <= most, `${sent} bytes`);
  assert.equal(await page.evaluate(() => sock.request("count", "flood")), sent, "nothing came between");

  await page.evaluate(() => {
    window.began = performance.now();
    go();
  });
  await watch(t, before, "flood", "taken");
  const got = await page.evaluate(async () => {
    stream.cancel();
    return [taken, came, (performance.now() - began) / 1000, await done, (await sock.request("await", "flood")).what];
  });
  assert.ok(got[0] <= got[2] * rate + 2 * part, `${got[0]} bytes taken in ${got[2]} s`);
  assert.ok(got[1] - cameBefore - got[0] <= most, `${got[1] - cameBefore} bytes came`);
  assert.deepEqual(got.slice(3), ["canceled", "canceled"]);
});

test("a Go caller floods a page's handler that takes 1 MiB/s", async (t) => {
  await connected();
  const before = await memory();
  const call = page.evaluate(([bytes, part, rate]) => {
    const may = new Promise((resolve) => (window.go = resolve));
    gotalk.handleStream("take", async (stream) => {
      window.stream = stream;
      await consume(stream, rate, may);
    });
    return sock.request("produce-to", { Op: "take", Name: "pour", Bytes: bytes, Part: part });
  }, [GiB, part, rate]);
  const sent = await stalled("pour");
  assert.ok(sent > 0 && sent <= most, `${sent} bytes`);
  await page.evaluate(() => go());
  await watch(t, before, "pour", "taken");
  await page.evaluate(() => stream.cancel(new gotalk.GotalkError("enough", "aborted")));
  // Sending fails with no more than that the stream has ended.
  assert.ok((await call).code);
});

test("a page floods a Go handler that takes 1 MiB/s", async (t) => {
  await connected();
  const before = await memory();
  await page.evaluate(([bytes, part, rate]) => {
    window.stream = sock.stream("consume", { value: JSON.stringify({ Name: "drain", Rate: -rate }) });
    window.done = produce(stream, bytes, part).catch((e) => e.code);
  }, [GiB, part, rate]);
  const sent = await stalled("sent");
  t.diagnostic(`sent to a handler that takes nothing: ${sent} bytes; small calls meanwhile: ${spread(await calls(300))} ms`);
  assert.ok(sent > 0 && sent <= most, `${sent} bytes`);
  await page.waitForFunction(() => sock.ws.bufferedAmount == 0);
  await page.evaluate(() => sock.notify("mark", "drain go"));
  await watch(t, before, "sent", "drain");
  const got = await page.evaluate(async () => {
    stream.cancel();
    return [await done, (await sock.request("await", "drain")).what];
  });
  assert.deepEqual(got, ["canceled", "canceled"]);
});

test("a page's handler floods a Go caller that takes 1 MiB/s", async (t) => {
  await connected();
  const before = await memory();
  const call = page.evaluate(([bytes, part, rate]) => {
    gotalk.handleStream("give", (stream) => {
      window.stream = stream;
      return (window.done = produce(stream, bytes, part));
    });
    return sock.request("consume-from", { Op: "give", Name: "suck", Rate: -rate });
  }, [GiB, part, rate]);
  const sent = await stalled("sent");
  assert.ok(sent > 0 && sent <= most, `${sent} bytes`);
  await page.evaluate(() => sock.notify("mark", "suck go"));
  await watch(t, before, "sent", "suck");
  await page.evaluate(() => stream.cancel(new gotalk.GotalkError("enough", "out_of_range")));
  assert.equal((await call).code, "out_of_range");
});

test("streams that stall hold up no other stream", async (t) => {
  await connected();
  const got = await page.evaluate(async () => {
    const stuck = Array.from({ length: 20 }, (_, i) =>
      sock.stream("produce", { value: JSON.stringify({ Name: "stuck " + i, Bytes: 1 << 30, Part: 65536 }) }));
    const start = performance.now(), bytes = 64 << 20;
    let n = 0;
    for await (const b of sock.stream("produce", { value: JSON.stringify({ Name: "runs", Bytes: bytes, Part: 65536 }) })) n += b.length;
    const took = performance.now() - start;
    for (const s of stuck) s.cancel();
    const ended = await Promise.all(stuck.map((_, i) => sock.request("await", "stuck " + i)));
    return [n == bytes, bytes / took / 1000, ended.every((e) => e.what == "canceled")];
  });
  t.diagnostic(`64 MiB beside 20 streams that stall: ${got[1].toFixed(0)} MB/s`);
  assert.deepEqual([got[0], got[2]], [true, true]);
});
