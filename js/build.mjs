// Builds dist/. With --check, builds in memory and in a temporary folder and fails if dist/ is not the same.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const common = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  define: { VERSION: JSON.stringify(version) },
  target: "es2022",
  write: false,
};
// The short names of internal properties are kept, so that a change of the sources changes little of the script; they
// are those with which it compresses best. Properties of different classes may share one. A property that is not listed
// gets a name by itself; before one moves to another class, see that its name is free there.
const mangleCache = JSON.parse(readFileSync(join(here, "mangle.json"), "utf8"));
const small = { minify: true, mangleProps: /^_[^_]/, mangleCache };

// The nth name of a variable. Always the same, so that what compresses best does not depend on anything else.
const letters = "etinaodsuflpchvmrwTJybMFZWExkAQSjDLORBXUzVPHIYNCgqKG";
function identifier(n) {
  const l = letters.length;
  return (n < l ? "" : letters[Math.floor(n / l) - 1]) + letters[n % l];
}

// A second pass: it renames variables alike in all functions, which compresses 3 % better.
async function smaller([name, code], files) {
  if (!/gotalk\.c?js$/.test(name)) return [[name, code]];
  const map = files.find(([n]) => n == name + ".map")?.[1];
  const out = await minify(code, {
    ecma: 2020,
    toplevel: true,
    compress: { passes: 2, pure_getters: true, sequences: false },
    mangle: { nth_identifier: { get: identifier } },
    sourceMap: map && { content: map, filename: name, url: name + ".map" },
  });
  return map ? [[name, out.code], [name + ".map", out.map]] : [[name, out.code]];
}

async function scripts() {
  const outputs = await Promise.all([
    build({ ...common, ...small, entryPoints: ["src/global.ts"], format: "iife", sourcemap: true, outfile: "dist/gotalk.js" }),
    build({ ...common, entryPoints: ["src/index.ts"], format: "esm", outfile: "dist/gotalk.mjs" }),
    build({
      ...common,
      ...small,
      entryPoints: ["src/index.ts"],
      format: "cjs",
      outfile: "dist/gotalk.cjs",
      footer: { js: "module.exports=module.exports.default;" },
    }),
  ]);
  const files = outputs.flatMap((o) => o.outputFiles).map((f) => [f.path.slice(dist.length + 1), f.text]);
  const all = await Promise.all(files.filter(([name]) => !name.endsWith(".map")).map((f) => smaller(f, files)));
  return all.flat();
}

// Declarations for import, and for require, which gives the default export alone.
function types() {
  const dir = mkdtempSync(join(tmpdir(), "gotalk-types-"));
  try {
    execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "-p", here, "--outDir", dir], { stdio: "inherit" });
    const files = readdirSync(dir).sort().map((f) => {
      // Node's resolution wants the extension, TypeScript's bundler resolution does not mind it.
      const text = readFileSync(join(dir, f), "utf8").replace(/((?:from |import\()"\.\/\w+)"/g, '$1.js"');
      return [join("types", f), text];
    });
    const cts = 'import type gotalk from "./types/index.js" with { "resolution-mode": "import" };\n' +
      "declare const instance: typeof gotalk;\nexport = instance;\n";
    return [...files, ["gotalk.d.cts", cts]];
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const files = [...(await scripts()), ...types()];
if (process.argv[2] == "--check") {
  const have = readdirSync(dist, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath ?? f.path, f.name).slice(dist.length + 1));
  const want = new Map(files);
  const stale = [...new Set([...have, ...want.keys()])].filter(
    (f) => !have.includes(f) || readFileSync(join(dist, f), "utf8") != want.get(f),
  );
  if (stale.length) {
    console.error(`js/dist is not what the sources give (${stale.join(", ")}): run npm run build and commit it`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(join(dist, "types"), { recursive: true });
  for (const [name, text] of files) writeFileSync(join(dist, name), text);
}
