// What the tests have in common: Chromium, and Go programs that are built once, started, killed and started again.
import { chromium } from "playwright-core";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
      // A host that is not local by its name, but for this browser.
      "--host-resolver-rules=MAP *.test 127.0.0.1",
    ],
  });
}

/** Builds a Go program of this repository. */
export class Program {
  constructor(pkg) {
    this.dir = mkdtempSync(join(tmpdir(), "gotalk-browser-"));
    this.path = join(this.dir, "program");
    execFileSync("go", ["build", "-o", this.path, pkg], { cwd: root, stdio: "inherit" });
    this.running = new Set();
  }

  /** Starts it in a folder that has nothing to do with it. It prints the URL where it listens. */
  async start(...args) {
    const child = spawn(this.path, args, { cwd: this.dir, stdio: ["ignore", "pipe", "inherit"] });
    this.running.add(child);
    const exited = once(child, "exit").then(([code, signal]) => {
      this.running.delete(child);
      return code ?? signal;
    });
    const url = new Promise((resolve, reject) => {
      createInterface(child.stdout).on("line", (line) => {
        const found = line.match(/http:\/\/\S+/);
        if (found) resolve(found[0]);
      });
      exited.then((status) => reject(new Error(`${this.path} ended: ${status}`)));
    });
    return {
      url: await url,
      port: new URL(await url).port,
      /** Sends a signal and resolves to the exit status. */
      stop(signal = "SIGKILL") {
        child.kill(signal);
        return exited;
      },
    };
  }

  remove() {
    for (const child of this.running) child.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/**
 * An address for a server that is started there again and again: its port is below those that the system gives to
 * whoever asks for any, so that nobody has got it when the server comes back.
 */
export async function lastingAddress() {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 12000);
    const probe = createServer().listen(port, "127.0.0.1");
    const free = await once(probe, "listening").then(() => true, () => false);
    if (!free) continue;
    await new Promise((resolve) => probe.close(resolve));
    return "127.0.0.1:" + port;
  }
}

/** Waits until what holds returns is true. Without an end of its own: the test has one. */
export async function until(holds) {
  while (!(await holds())) await setTimeout(10);
}

/** Opens a page that notes what it complains about in page.problems. */
export async function open(context, url) {
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (err) => page.problems.push(String(err)));
  page.on("console", (m) => {
    // Attempts to connect while there is no server are what a lost connection looks like.
    const lost = /WebSocket connection to .* failed: (Error in connection establishment|Connection closed before)/.test(m.text());
    if (["error", "warning"].includes(m.type()) && !lost) page.problems.push(m.text());
  });
  await page.goto(url);
  return page;
}

/**
 * Opens a page with a connection to the server that the page is from, as sock. connect makes it, if it is given. Each side
 * knows what the other can do.
 */
export async function connectedTo(context, url, connect = () => void (window.sock = gotalk.connection())) {
  const page = await open(context, url);
  await page.evaluate(`(${connect})()`);
  await page.evaluate(async () => {
    window.events = [];
    sock.on("close", () => events.push("close"));
    sock.on("open", () => events.push("open"));
    if (sock.keepalive.isConnected) events.push("open");
    else await new Promise((resolve) => sock.once("open", resolve));
    await sock.request("double", 1); // its answer comes behind the server's hello
  });
  return page;
}

/** What is in the middle of the numbers, and what only every hundredth of them is above. */
export function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))].toFixed(1);
  return `p50 ${at(0.5)} p99 ${at(0.99)} (${sorted.length})`;
}

/** Keeps a picture of the page for people to look at, if SCREENSHOTS names a folder. */
export async function screenshot(page, name) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SCREENSHOTS, name + ".png") });
}
