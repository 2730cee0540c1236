// The files that are shipped: how they load, what they define, how large they are.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { gzipSync } from "node:zlib";
import { script } from "./load.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const names = [
  "version", "protocol", "Buf", "developmentMode", "defaultResponderAddress", "Sock", "Handlers", "ErrAbnormal",
  "ErrUnsupported", "ErrInvalidMsg", "ErrTimeout", "open", "connection", "defaultHandlers", "handle", "handleRequest",
  "handleBufferRequest", "handleNotification", "handleBufferNotification", "handleStreamRequest", "GotalkError",
  "handleStream", "retryAfter",
];
const settable = ["developmentMode", "defaultResponderAddress"];

/** Runs the script as the page at `href` would that has it from `src`. */
function page(src, href, global = {}) {
  const ctx = vm.createContext({ TextEncoder, TextDecoder, URL, clearTimeout, setTimeout, document: { currentScript: src ? { src } : null }, location: href && new URL(href), ...global });
  const before = Object.keys(ctx);
  vm.runInContext(script, ctx);
  assert.deepEqual(Object.keys(ctx).filter((k) => !before.includes(k)), ["gotalk"], "one global");
  return ctx.gotalk;
}

/** Where a Sock of that page connects to. */
function connects(gotalk, addr) {
  let url;
  const s = gotalk.Sock({ WebSocket: class { constructor(u) { url = u; } close() {} } });
  s.open(addr);
  return url;
}

test("the script is at most 7,500 bytes, compressed", () => {
  const size = gzipSync(script, { level: 9 }).length;
  assert.ok(size <= 7500, `${size} bytes: make it smaller, or show what it is worth`);
});

test("script, module and require give the same names", async () => {
  const module = await import("../dist/gotalk.mjs");
  const required = createRequire(import.meta.url)("../dist/gotalk.cjs");
  for (const g of [page("https://h/gotalk.js"), module.default, required]) {
    assert.deepEqual(Object.keys(g).sort(), [...names].sort());
    assert.equal(g.version, version);
    assert.equal(g.default, g);
    assert.equal(g.__esModule, true);
  }
  assert.deepEqual(Object.keys(module).sort(), ["default", ...names.filter((n) => !settable.includes(n))].sort());
  for (const n of Object.keys(module)) if (n != "default") assert.equal(module[n], module.default[n], n);
});

test("loading has no side effect but reading document.currentScript", () => {
  const seen = [];
  const watched = (name, value) => new Proxy(value, {
    get: (o, k) => (typeof k == "string" && seen.push(`${name}.${k}`), Reflect.get(o, k)),
    set: (o, k, v) => assert.fail(`${name}.${String(k)} is set`),
  });
  const fail = (name) => () => assert.fail(name + " is called");
  const global = Object.fromEntries(["setTimeout", "setInterval", "queueMicrotask", "addEventListener", "fetch", "WebSocket"].map((n) => [n, fail(n)]));
  vm.runInNewContext(script, {
    TextEncoder, TextDecoder, URL, ...global,
    document: watched("document", { currentScript: { src: "https://h/x.js" } }),
    location: watched("location", new URL("https://page/")),
    navigator: watched("navigator", {}),
    Math: watched("Math", Math),
  });
  assert.deepEqual(seen, ["document.currentScript"]);
  vm.runInNewContext(script, { TextEncoder, TextDecoder, URL }); // and needs none
});

test("the default address, and addresses relative to the script's host", () => {
  for (const [src, want] of [
    ["https://h/a/b/gotalk.js?x", "wss://h/a/b/"], ["http://h:8080/gotalk/gotalk.js", "ws://h:8080/gotalk/"],
    ["http://h/gotalk.js#f", "ws://h/"], ["data:text/javascript,1", ""], ["blob:https://h/1", ""],
  ]) {
    assert.equal(page(src, "https://page/x/").defaultResponderAddress, want);
  }
  const g = page("https://h:1/a/gotalk.js", "http://page/");
  for (const [addr, want] of [
    [undefined, "wss://h:1/a/"], [null, "wss://h:1/a/"], ["", "wss://h:1/a/"], ["ws://x/y", "ws://x/y"],
    ["wss://x/y?z", "wss://x/y?z"], ["//x/y", "wss://x/y"], ["/y/z", "wss://h:1/y/z"], ["y/z", "wss://h:1/y/z"],
    ["https://x/y", "https://x/y"], ["http://x/y", "http://x/y"], ["x:5/y", "wss://h:1/x:5/y"],
  ]) {
    assert.equal(connects(g, addr), want, addr);
  }
  g.defaultResponderAddress = "ws://mine/";
  assert.equal(connects(g), "ws://mine/");

  // In a module, the page's own address serves instead, but not as the default.
  const m = page(null, "https://page:2/x/y");
  assert.equal(connects(m, "/gotalk/"), "wss://page:2/gotalk/");
  assert.equal(connects(m, "//x/y"), "wss://x/y");
  assert.throws(() => connects(m), /^Error: address not specified$/);

  // Without a page, addresses are what they are.
  const n = page(null);
  assert.equal(connects(n, "ws://x/y"), "ws://x/y");
  assert.throws(() => n.connection(), /^Error: address not specified$/);
});

test("development mode", () => {
  for (const host of ["localhost", "localhost:8080", "127.0.0.1:1", "my.local", "a.localhost", "[::1]:5"]) {
    assert.equal(page(`http://${host}/gotalk.js`).developmentMode, true, host);
  }
  for (const host of ["example.com", "local.example.com", "notlocal", "mylocalhost", "10.127.0.1"]) {
    assert.equal(page(`http://${host}/gotalk.js`).developmentMode, false, host);
  }
});

test("Buf", () => {
  const { Buf } = page();
  const b = new Uint8Array(3);
  assert.equal(Buf(b).buffer, b.buffer);
  assert.equal(Buf(b.buffer).buffer, b.buffer);
  assert.deepEqual([...Buf(2)], [0, 0]);
  assert.deepEqual([...Buf(0)], []);
});

/** What `node -e code` prints in a project that has the package. */
const node = (cwd, ...args) => execFileSync(process.execPath, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();

test("npm pack: a fresh project can install, import, require, type-check and bundle it", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "gotalk-pack-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const npm = (...args) => execFileSync("npm", args, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [{ filename, files }] = JSON.parse(npm("pack", "--json", "--ignore-scripts", root));
  const packed = files.map((f) => f.path);
  assert.ok(packed.includes("dist/gotalk.js") && packed.includes("dist/types/index.d.ts"));
  assert.deepEqual(packed.filter((f) => !f.startsWith("dist/") && !/^(package\.json|README\.md|LICENSE)$/.test(f)), []);
  writeFileSync(join(dir, "package.json"), '{"private":true,"type":"module"}');
  npm("install", "--offline", "--no-audit", "--no-fund", "./" + filename);

  const use = "console.log(g.version, new g.Sock() instanceof g.Sock, g.protocol.binary.versionBuf.length)";
  const want = version + " true 2";
  assert.equal(node(dir, "--input-type=module", "-e", `import g from "gotalk"; ${use}`), want);
  assert.equal(node(dir, "--input-type=module", "-e", `import * as g from "gotalk"; ${use}`), want);
  assert.equal(node(dir, "--input-type=module", "-e", `import "gotalk/global"; const g = gotalk; ${use}`), want);
  assert.equal(node(dir, "--input-type=commonjs", "-e", `const g = require("gotalk"); ${use}`), want);

  // Types, by each way to resolve them.
  writeFileSync(join(dir, "a.ts"), 'import gotalk, { Sock, type Result } from "gotalk";\nexport const s: Sock = gotalk.Sock();\nexport type R = Result<string>;\n');
  writeFileSync(join(dir, "b.cts"), 'import gotalk = require("gotalk");\nexport const v: string = gotalk.version;\nexport const s = new gotalk.Sock();\n');
  writeFileSync(join(dir, "c.ts"), 'import "gotalk/global";\nexport const v: string = gotalk.version;\n');
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  for (const how of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const files = how[0] == "nodenext" ? ["a.ts", "b.cts", "c.ts"] : ["a.ts", "c.ts"];
    node(dir, tsc, "--noEmit", "--strict", "--target", "es2022", "--types", "", "--module", how[0], "--moduleResolution", how[1], ...files);
  }

  // A bundle has what it uses and runs without a document.
  const { build } = await import("esbuild");
  mkdirSync(join(dir, "src"));
  writeFileSync(join(dir, "src/app.js"), 'import { open, version } from "gotalk"; console.log(version, typeof open);');
  for (const format of ["esm", "iife", "cjs"]) {
    const out = join(dir, `out.${format == "esm" ? "mjs" : "cjs"}`);
    const r = await build({ absWorkingDir: dir, entryPoints: ["src/app.js"], bundle: true, minify: true, format, outfile: out, logLevel: "silent" });
    assert.deepEqual(r.warnings, []);
    assert.equal(node(dir, out), version + " function");
  }
});
