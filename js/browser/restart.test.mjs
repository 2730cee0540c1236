// What a page that stays connected makes of a server that is shut down, or killed, and started again.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { connectedTo, lastingAddress, launch, Program, spread } from "./support.mjs";

let browser, context, program;

before(async () => {
  program = new Program("./js/browser/server");
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
  assert.deepEqual(problems, []);
});

const opened = (page, times) =>
  page.waitForFunction((n) => events.filter((e) => e == "open").length >= n, times);

test("a server that shuts down finishes what is under way, and the page comes back", async () => {
  const server = await program.start("-addr", await lastingAddress());
  const page = await connectedTo(context, server.url);
  await page.evaluate(async () => {
    const text = (b) => new TextDecoder().decode(b);
    window.told = new Promise((resolve) => sock.ws.addEventListener("message", ({ data }) => {
      if (text(data).includes("gotalk:goaway")) resolve(text(data).match(/{.*}/)[0]);
    }));
    window.held = sock.request("hold", "held");
    await sock.request("await", "held started");
    window.stream = sock.stream("release");
    window.chunks = stream[Symbol.asyncIterator]();
    window.turn = async (name) => {
      await stream.send(name);
      return text((await chunks.next()).value);
    };
    await turn("begun");
    gotalk.handle("answer", async (v) => {
      sock.notify("mark", "asked");
      await told;
      return "after " + v;
    });
    window.asked = sock.request("ask", { op: "answer", value: "goaway" });
    await sock.request("await", "asked");
  });
  const status = server.stop("SIGTERM");
  const told = JSON.parse(await page.evaluate(() => told));
  assert.deepEqual(told, { after_ms: 0, jitter_ms: 500, reason: "shutting down" });

  // These wait for the next connection, those are finished on this one.
  await page.evaluate(() => {
    window.queued = [sock.request("double", 21), sock.request("double", 4, { timeout: 60000 })];
    window.queuedStream = (async () => {
      const s = sock.stream("copy", { value: "a" });
      s.send("b");
      s.end();
      let n = 0;
      for await (const b of s) n += b.length;
      return n;
    })();
    window.cancelled = sock.request("double", 1, { signal: AbortSignal.timeout(1) }).catch((e) => e.name);
  });
  assert.equal(await page.evaluate(() => cancelled), "TimeoutError");
  assert.deepEqual(await page.evaluate(async () => [await asked, events]), [{ value: "after goaway", error: null }, ["open"]]);
  const finished = await page.evaluate(async () => {
    const got = [await turn("still"), await turn("held"), await held, [...events]];
    stream.end();
    got.push((await chunks.next()).done);
    return got;
  });
  assert.deepEqual(finished, ["still", "held", "held", ["open"], true]);
  assert.equal(await status, 0);

  const again = await program.start("-addr", "127.0.0.1:" + server.port);
  await opened(page, 2);
  assert.deepEqual(await page.evaluate(async () => [await Promise.all(queued), await queuedStream, events]), [[42, 8], 2, ["open", "close", "open"]]);
  await again.stop();
});

/** Makes 200 calls a second of the page at port until stop, and notes how each ends. */
async function busyPage(url, prepare = () => {}) {
  const page = await connectedTo(context, url);
  await page.evaluate(prepare);
  await page.evaluate(() => {
    sock.sendBufferLimit = 1e5;
    window.calls = [];
    window.ended = { right: 0, wrong: 0, failed: {} };
    window.took = [];
    window.timer = setInterval(() => {
      const n = calls.length, start = performance.now();
      calls.push(sock.request(n % 2 ? "double" : "nap", n).then(
        (v) => {
          ended[v == 2 * n ? "right" : "wrong"]++;
          took.push(performance.now() - start);
        },
        (e) => {
          const what = `${e.code}: ${e.message}`;
          ended.failed[what] = (ended.failed[what] || 0) + 1;
        },
      ));
    }, 5);
  });
  return page;
}

/** Ends the server by signal, and starts another one, n times. Returns how the page's calls have ended. */
async function restarts(signal, n, prepare) {
  let server = await program.start("-addr", await lastingAddress());
  const page = await busyPage(server.url, prepare);
  const statuses = new Set();
  for (let i = 1; i <= n; i++) {
    const right = await page.evaluate(() => ended.right);
    await page.waitForFunction((n) => ended.right >= n, right + 10);
    statuses.add(await server.stop(signal));
    server = await program.start("-addr", "127.0.0.1:" + server.port);
    await opened(page, i + 1);
  }
  const got = await page.evaluate(async () => {
    clearInterval(timer);
    await Promise.all(calls);
    return { made: calls.length, ...ended, took, events };
  });
  await server.stop();
  return { ...got, statuses: [...statuses] };
}

test("ten orderly restarts fail no call", async (t) => {
  const got = await restarts("SIGTERM", 10);
  t.diagnostic(`${got.made} calls: ${spread(got.took)}, at most ${Math.max(...got.took).toFixed()} ms; failed: ${JSON.stringify(got.failed)}`);
  assert.deepEqual([got.failed, got.wrong, got.right], [{}, 0, got.made]);
  assert.deepEqual(got.statuses, [0]);
});

test("calls that a killed server had at work fail, and no others", async (t) => {
  const got = await restarts("SIGKILL", 10, () => Object.assign(sock.keepalive, { minDelay: 100, maxDelay: 200 }));
  t.diagnostic(`${got.made} calls: ${spread(got.took)}, at most ${Math.max(...got.took).toFixed()} ms; failed: ${JSON.stringify(got.failed)}`);
  const failed = Object.values(got.failed).reduce((a, b) => a + b, 0);
  assert.equal(got.wrong, 0);
  assert.equal(got.right + failed, got.made);
  for (const what of Object.keys(got.failed)) assert.match(what, /^unavailable: /);
  // Those of 20 ms, and what crosses the end. Made while there is no connection, they wait for the next one.
  assert.ok(failed <= got.made / 2, `${failed} of ${got.made}`);
});
