// Files that are uploaded and downloaded by a page.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { lastingAddress, launch, open, Program, screenshot } from "./support.mjs";

const MiB = 1 << 20;
let browser, program, server, dir;
let contexts = [];

before(async () => {
  program = new Program("./examples/files");
  browser = await launch();
});
after(async () => {
  await browser?.close();
  program?.remove();
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "gotalk-files-"));
});
afterEach(async () => {
  const problems = contexts.flatMap((c) => c.pages()).flatMap((p) => p.problems);
  for (const c of contexts.splice(0)) await c.close();
  await server?.stop();
  server = undefined;
  rmSync(dir, { recursive: true });
  assert.deepEqual(problems, []);
});

const served = (name) => join(dir, "served", name);
const start = async (addr = "127.0.0.1:0", ...args) =>
  (server = await program.start("-dir", join(dir, "served"), "-addr", addr, ...args));

/** A page whose WebSockets count what goes over them, and run window.at when that reaches a number of bytes. */
async function visit(options = {}) {
  if (!server) await start();
  const context = await browser.newContext({ viewport: { width: 1000, height: 720 }, ...options });
  contexts.push(context);
  await context.addInitScript(() => {
    window.bytes = { sent: 0, received: 0 };
    window.at = null; // { sent or received: bytes, run(ws) }
    window.offline = false;
    const check = (ws) => {
      for (const way of ["sent", "received"]) {
        if (!at || !(bytes[way] >= at[way])) continue;
        const { run } = at;
        window.at = null;
        run(ws);
      }
    };
    window.WebSocket = class extends WebSocket {
      constructor(url) {
        if (offline) throw new Error("no network");
        super(url);
        this.addEventListener("message", (ev) => {
          bytes.received += ev.data.byteLength ?? ev.data.length;
          check(this);
        });
      }
      send(data) {
        bytes.sent += data.byteLength ?? data.length;
        super.send(data);
        check(this);
      }
    };
  });
  const page = await open(context, server.url);
  page.on("dialog", (d) => d.accept());
  await page.waitForSelector("#connection.connected");
  return page;
}

/** A file of random bytes on disk. */
function make(name, size) {
  const path = join(dir, name);
  writeFileSync(path, randomBytes(size));
  return path;
}

const sha = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
const see = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();
const row = (page, name) => page.locator(".transfer", { hasText: name });
const listed = (page, name) => page.locator("#files .file", { hasText: name });
/** The connection is cut when that many bytes were sent or received, and there is none until online is called. */
const cut = (page, way, n) => page.evaluate(([way, n]) => {
  window.at = { [way]: bytes[way] + n, run: (ws) => ((window.offline = true), ws.close()) };
}, [way, n]);
const online = (page) => page.evaluate(() => (window.offline = false));
const count = (page, way) => page.evaluate((way) => bytes[way], way);

test("uploads a file, resumes when the server is restarted, and downloads it in spite of a lost connection", async () => {
  await start(await lastingAddress());
  const page = await visit(), other = await visit();
  const size = 20 * MiB + 4321, path = make("holiday video.bin", size);
  await cut(page, "sent", 8 * MiB);
  await page.setInputFiles("#choose", path);
  await see(page, "#connection", "No connection");
  await see(page, ".transfer .note", "Waiting for the connection");
  assert.ok(!existsSync(served("holiday video.bin")), "it is not seen before it is complete");
  await screenshot(page, "files-waiting");
  assert.equal(await server.stop("SIGINT"), 0);

  const sent = await count(page, "sent");
  await start("127.0.0.1:" + server.port);
  await online(page);
  await see(page, ".transfer .note", "Uploaded, 20.0 MiB, checked");
  const resent = (await count(page, "sent")) - sent;
  assert.ok(resent > 12 * MiB && resent < 14 * MiB, `it went on where it was: ${resent}`);
  assert.equal(sha(served("holiday video.bin")), sha(path));
  assert.deepEqual(readdirSync(served(".partial")), []);

  // The other page sees it, and gets it.
  await listed(other, "holiday video.bin").waitFor();
  assert.match(await listed(other, "holiday").locator(".note").textContent(), /^20\.0 MiB, /);
  await cut(other, "received", 9 * MiB);
  const saved = other.waitForEvent("download");
  await listed(other, "holiday").getByRole("button").click();
  await see(other, ".transfer .note", "Waiting for the connection");
  const received = await count(other, "received");
  await online(other);
  const download = await saved;
  assert.equal(download.suggestedFilename(), "holiday video.bin");
  assert.equal(sha(await download.path()), sha(path));
  await see(other, ".transfer .note", "Downloaded, 20.0 MiB, checked");
  const again = (await count(other, "received")) - received;
  assert.ok(again > 10 * MiB && again < 13 * MiB, `it went on where it was: ${again}`);
});

test("can be cancelled and resumed, both ways", async () => {
  const page = await visit();
  const path = make("big.bin", 12 * MiB);
  const stopAt = (way, n) => page.evaluate(([way, n]) => {
    window.at = { [way]: bytes[way] + n, run: () => document.querySelector(".cancel").click() };
  }, [way, n]);
  const sent = await count(page, "sent");
  await stopAt("sent", 5 * MiB);
  await page.setInputFiles("#choose", path);
  await see(page, ".transfer .note", /Stopped at \d\.\d MiB of 12.0 MiB/);
  await screenshot(page, "files-stopped");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Resume");
  await page.keyboard.press("Enter");
  await see(page, ".transfer .note", "Uploaded");
  assert.ok((await count(page, "sent")) - sent < 13.5 * MiB);

  // Cancelled and resumed at once.
  await page.click(".dismiss");
  assert.equal(await page.locator(".transfer").count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "choose");
  const received = await count(page, "received");
  await page.evaluate(() => {
    window.at = { received: bytes.received + 5 * 2 ** 20, run() {
      document.querySelector(".cancel").click();
      document.querySelector(".resume").click();
    } };
  });
  const saved = page.waitForEvent("download");
  await listed(page, "big.bin").getByRole("button").click();
  assert.equal(sha(await (await saved).path()), sha(path));
  assert.ok((await count(page, "received")) - received < 13.5 * MiB);
});

test("a file that changed while it was away is uploaded as it is now", async () => {
  const page = await visit();
  await cut(page, "sent", 4 * MiB);
  await page.setInputFiles("#choose", make("log.txt", 8 * MiB));
  await see(page, ".transfer .note", "Waiting for the connection");
  await page.click(".cancel");
  await page.click(".dismiss");
  const path = make("log.txt", 6 * MiB);
  await online(page);
  await page.waitForSelector("#connection.connected");
  await page.setInputFiles("#choose", path);
  await see(page, ".transfer .note", "Uploaded, 6.0 MiB");
  assert.equal(sha(served("log.txt")), sha(path));
});

test("says what is wrong, and replaces a file only when told", async () => {
  const first = await start("127.0.0.1:0", "-max", "2M");
  assert.ok(first);
  const page = await visit();
  await page.setInputFiles("#choose", [make("large.bin", 3 * MiB), make(".hidden", 10)]);
  await see(page, ".transfer[data-state=failed] .note", "The file has 3.0 MiB, and the server takes 2.0 MiB at most.");
  await see(page, ".transfer[data-state=failed] .note", '".hidden" cannot be the name of a file here');
  for (let i = 0; i < 2; i++) await page.locator(".dismiss").first().click();

  await page.setInputFiles("#choose", make("a.txt", 1000));
  await see(page, ".transfer .note", "Uploaded, 1000 B, checked");
  const path = make("a.txt", MiB + 1);
  await page.setInputFiles("#choose", path);
  await see(page, ".transfer .note", 'There is a file "a.txt" already.');
  assert.equal(statSync(served("a.txt")).size, 1000);
  await screenshot(page, "files-exists");
  await page.getByRole("button", { name: "Replace" }).click();
  await see(page, ".transfer .note", "Uploaded, 1.0 MiB, checked");
  assert.equal(sha(served("a.txt")), sha(path));
  await see(page, "#files .note", "1.0 MiB");
  assert.equal(await page.locator(".file").count(), 1);

  rmSync(served("a.txt"));
  await listed(page, "a.txt").getByRole("button").click();
  await see(page, ".transfer .note", 'There is no file "a.txt".');
  await page.getByRole("button", { name: "Try again" }).waitFor();

  // Nothing of another name than text.
  await page.setInputFiles("#choose", { name: "<img src=x onerror=alert(1)>.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await see(page, "#files .name", "<img src=x onerror=alert(1)>.txt");
  assert.equal(await page.locator("main img").count(), 0);
  // An empty file is a file.
  await page.setInputFiles("#choose", make("empty", 0));
  await see(page, "#files .note", "0 B");
});

test("takes files that are dropped, a few at a time", async () => {
  const page = await visit();
  await page.evaluate(() => {
    const data = new DataTransfer();
    for (let i = 0; i < 8; i++) data.items.add(new File([new Uint8Array(3e5).fill(i)], `dropped ${i}`));
    const fire = (type) => document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    fire("dragover");
    window.marked = document.body.className;
    fire("drop");
  });
  assert.equal(await page.evaluate(() => marked), "dropping");
  await page.waitForFunction(() => document.querySelectorAll("[data-state=done]").length == 8);
  await page.waitForFunction(() => document.querySelectorAll(".file").length == 8); // the list comes when the server has told
  for (let i = 0; i < 8; i++) assert.deepEqual(readFileSync(served("dropped " + i)), Buffer.alloc(3e5, i));
});

test("a page that reads nothing is sent no more than a window", async () => {
  await start();
  writeFileSync(served("big.bin"), Buffer.alloc(64 * MiB));
  const page = await visit();
  const got = await page.evaluate(async () => {
    const { sock } = await import("./transfer.js");
    let held = 0;
    sock.ws.addEventListener("message", ({ data }) => {
      if (data.byteLength > 1000) held += data.byteLength; // others are answers
    });
    const s = sock.stream("download", { value: JSON.stringify({ name: "big.bin" }) });
    // Requests are answered meanwhile.
    while (held < 3 * 65536) await sock.request("list");
    for (let i = 0; i < 100; i++) await sock.request("list");
    const most = held;
    let size = 0;
    for await (const chunk of s) if ((size += chunk.length) > 2 ** 22) break;
    await sock.request("list");
    return { most, size };
  });
  assert.ok(got.most < 400_000, JSON.stringify(got));
  assert.ok(got.size > 4 * MiB, JSON.stringify(got));
});

test("is fit for phones, and for the dark", async () => {
  await start();
  for (const [name, size] of [["Summer 2026 – all the pictures.zip", 5 * MiB], ["notes.txt", 800],
    ["a_name_that_is_far_too_long_for_any_line_of_a_phone_of_the_size_that_people_carry_around.tar.gz", 70000]]) {
    writeFileSync(served(name), randomBytes(size));
  }
  const paths = [make("talk.mp4", 9 * MiB), make("thesis.pdf", 2 * MiB), make("notes.txt", 5), make("another_name_that_is_far_too_long_for_any_line_of_a_phone.bin", 3 * MiB)];
  for (const colorScheme of ["light", "dark"]) {
    const phone = await visit({ colorScheme, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
    const desk = await visit({ colorScheme });
    for (const [name, page] of [["phone", phone], ["desktop", desk]]) {
      await screenshot(page, `files-${name}-${colorScheme}-idle`);
      await page.setInputFiles("#choose", [...paths.slice(2, 3), paths[1]]);
      await page.waitForFunction(() => document.querySelectorAll("[data-state=done], [data-state=failed]").length == 2);
      await page.evaluate(() => (window.at = { sent: bytes.sent + 5 * 2 ** 20, run: () => document.querySelector(".cancel").click() }));
      await page.setInputFiles("#choose", paths[0]);
      await see(page, ".transfer .note", "Stopped");
      await page.evaluate(() => (window.at = { sent: bytes.sent + 1e6, run(ws) { window.offline = true; ws.close(); } }));
      await page.setInputFiles("#choose", paths[3]);
      await see(page, "#connection", "No connection");
      await screenshot(page, `files-${name}-${colorScheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, "nothing sticks out");
      await page.click(".cancel");
      for (const name of ["thesis.pdf", ...readdirSync(served(".partial")).map((n) => ".partial/" + n)]) rmSync(served(name));
    }
    const button = await phone.locator("#files button").first().boundingBox();
    assert.ok(button.height >= 40, "large enough for a finger");
    const [ink, paper] = await phone.evaluate(() => {
      const s = getComputedStyle(document.body);
      return [s.color, s.backgroundColor].map((c) => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0));
    });
    assert.equal(colorScheme == "dark", ink > paper);
  }
});
