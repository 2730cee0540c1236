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
const json = (name) => JSON.parse(readFileSync(join(here, name), "utf8"));
const { version } = json("package.json");
const common = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  define: { VERSION: JSON.stringify(version) },
  target: "es2022",
  write: false,
};
// The short names of internal properties are kept, so that a change of the sources changes little of the script. Properties
// of different classes may share one. A property that is not listed gets a name by itself; before one moves to another
// class, see that its name is free there.
const small = {
  minify: true,
  mangleProps: /^_[^_]/,
  mangleCache: json("mangle.json"),
  // Without "use strict", which makes no difference to what there is outside of classes.
  tsconfigRaw: { compilerOptions: { ...json("tsconfig.json").compilerOptions, strict: false } },
};
const global = {
  ...common,
  ...small,
  entryPoints: ["src/global.ts"],
  format: "iife",
  sourcemap: true,
  outfile: "dist/gotalk.js",
};

// The nth name of a variable. Always the same, so that what compresses best does not depend on anything else.
const letters = "etinaodsuflpchvmrwTJybMFZWExkAQSjDLORBXUzVPHIYNCgqKG";
function identifier(n) {
  const l = letters.length;
  return (n < l ? "" : letters[Math.floor(n / l) - 1]) + letters[n % l];
}

// Those of the script are in names.json, scope by scope, in the order in which terser comes to them; names.mjs has found
// them. Where they fit no longer, terser goes on to the next name.
function chosen() {
  const scopes = json("names.json").map((names) => names.split(" "));
  let scope = -1;
  return (n) => {
    if (n == 0) scope++;
    return scopes[scope]?.[n] || identifier(n);
  };
}

// A second pass: it renames variables alike in all functions, which compresses 3 % better.
async function smaller({ path, text }, files, get = identifier) {
  const name = path.slice(dist.length + 1);
  if (!/gotalk\.c?js$/.test(name)) return [[name, text]];
  const map = files.find((f) => f.path == path + ".map")?.text;
  const out = await minify(text, {
    ecma: 2020,
    toplevel: true,
    compress: { passes: 2, pure_getters: true, lhs_constants: false },
    mangle: { nth_identifier: { get } },
    sourceMap: map && { content: map, filename: name, url: name + ".map" },
  });
  return map ? [[name, out.code], [name + ".map", out.map]] : [[name, out.code]];
}

/** The script with names of variables as get(n) gives them, and of properties as they are in the sources. */
export async function readable(get) {
  const { outputFiles } = await build({ ...global, mangleProps: undefined, mangleCache: undefined });
  return (await smaller(outputFiles[1], outputFiles, get))[0][1];
}

async function scripts() {
  const outputs = await Promise.all([
    build(global),
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
  const files = outputs.flatMap((o) => o.outputFiles);
  const scripts = files.filter((f) => !f.path.endsWith(".map"));
  return (await Promise.all(scripts.map((f, i) => smaller(f, files, i ? identifier : chosen())))).flat();
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

async function main() {
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
}

if (process.argv[1] == fileURLToPath(import.meta.url)) await main();
