// Searches names of variables and of internal properties with which the script compresses best, for as many seconds as it
// is told (300): npm run names 600. Writes names.json and mangle.json, for a build to follow. Not needed for a change to
// work, but a scope that is new or has moved has poor names until then.
import { parse } from "acorn";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { readable } from "./build.mjs";

const file = (name) => new URL(name, import.meta.url);
const seconds = +(process.argv[2] ?? 300);

// The script with unique names: v2_0 is the first variable of the third scope, in the order in which terser names them.
let scopes = 0;
const code = await readable((n) => `v${n ? scopes - 1 : scopes++}_${n}`);
const tokens = code.split(/\b(v\d+_\d+|_[a-zA-Z]\w*)\b/); // every other one is a name
const isVariable = (name) => /^v\d/.test(name);

/** Where in the code a variable can be seen: [start, end] of the scope that declares it. */
const seen = new Map();

function declare(pattern, range) {
  switch (pattern?.type) {
    case "Identifier": seen.set(pattern.name, range); break;
    case "ObjectPattern": pattern.properties.forEach((p) => declare(p.value ?? p.argument, range)); break;
    case "ArrayPattern": pattern.elements.forEach((e) => declare(e, range)); break;
    case "AssignmentPattern": declare(pattern.left, range); break;
    case "RestElement": declare(pattern.argument, range); break;
  }
}

function walk(node, fn, block) {
  if (Array.isArray(node)) return node.forEach((n) => walk(n, fn, block));
  if (typeof node?.type != "string") return;
  const here = [node.start, node.end];
  if (/Function/.test(node.type)) {
    declare(node.id, node.type == "FunctionDeclaration" ? block : here);
    node.params.forEach((p) => declare(p, here));
    fn = block = here;
  } else if (node.type == "VariableDeclaration") {
    node.declarations.forEach((d) => declare(d.id, node.kind == "var" ? fn : block));
  } else if (/^Class/.test(node.type)) {
    declare(node.id, node.type == "ClassDeclaration" ? block : here);
  } else if (node.type == "CatchClause") {
    declare(node.param, here);
    block = here;
  } else if (/^(Block|For|Switch)/.test(node.type)) {
    block = here;
  }
  for (const key in node) walk(node[key], fn, block);
}
walk(parse(code, { ecmaVersion: 2022 }), [0, code.length], [0, code.length]);

// Two variables need different names if one is used where the other one can be seen as well, and its scope is the inner one.
const uses = new Map();
tokens.reduce((at, t, i) => {
  if (i % 2 && isVariable(t)) uses.set(t, [...(uses.get(t) ?? []), at]);
  return at + t.length;
}, 0);
const variables = [...uses.keys()];
const clashes = new Map(variables.map((v) => [v, new Set()]));
for (const a of variables) {
  for (const b of variables) {
    const [start, end] = seen.get(a);
    const [outerStart, outerEnd] = seen.get(b);
    if (a == b || start < outerStart || end > outerEnd || !uses.get(b).some((at) => at >= start && at < end)) continue;
    clashes.get(a).add(b);
    clashes.get(b).add(a);
  }
}

// Properties that share a name go on sharing one: mangle.json says which may.
const mangle = JSON.parse(readFileSync(file("mangle.json"), "utf8"));
const group = (name) => "." + mangle[name];
for (const name of new Set(tokens.filter((t, i) => i % 2 && !isVariable(t)))) {
  if (!(name in mangle)) throw new Error(`add ${name} to mangle.json`);
}
const groups = [...new Set(Object.keys(mangle).map(group))];
for (const g of groups) clashes.set(g, new Set(groups.filter((other) => other != g)));

const letters = [..."etinaodsuflpchvmrwTJybMFZWExkAQSjDLORBXUzVPHIYNCgqKG"];
const taken = /^(as|do|if|in|is|of|on|id|op|ws)$/; // words of the language, and names of other properties
const pairs = letters.flatMap((a) => letters.slice(0, 20).map((b) => a + b)).filter((name) => !taken.test(name));
const names = new Map();
const fits = (v, name) => ![...clashes.get(v)].some((other) => names.get(other) == name);
const had = JSON.parse(readFileSync(file("names.json"), "utf8")).map((s) => s.split(" "));
for (const g of groups) names.set(g, g.slice(1));
for (const v of variables) {
  const [scope, n] = v.slice(1).split("_");
  names.set(v, [had[scope]?.[n], ...letters, ...pairs].find((name) => name && fits(v, name)));
}

const render = () => tokens.map((t, i) => (i % 2 ? names.get(isVariable(t) ? t : group(t)) : t)).join("");
const gzip = spawn("go", ["run", "./size"], { cwd: file("."), stdio: ["pipe", "pipe", "inherit"] });
const sizes = createInterface(gzip.stdout)[Symbol.asyncIterator]();
async function measure() {
  const code = render();
  gzip.stdin.write(`${Buffer.byteLength(code)}\n${code}`);
  return +(await sizes.next()).value;
}

// A change that makes the script longer is kept, too, with a probability that falls to nothing.
const all = [...names.keys()];
const any = (list, skew = 1) => list[Math.floor(Math.random() ** skew * list.length)];
let size = await measure();
let best = [size, new Map(names)];
console.log(`${variables.length} variables, ${groups.length} properties: ${size} bytes`);
const start = Date.now();
for (let left; (left = 1 - (Date.now() - start) / seconds / 1000) > 0; ) {
  const v = any(all), name = Math.random() < 0.97 ? any(letters, 1.7) : any(pairs);
  const old = names.get(v);
  if (name == old) continue;
  // Those that have the name take the old one, if they can.
  const swapped = [...clashes.get(v)].filter((other) => names.get(other) == name);
  names.set(v, name);
  for (const other of swapped) names.set(other, old);
  const now = swapped.every((other) => fits(other, old)) ? await measure() : Infinity;
  if (now <= size || Math.random() < Math.exp((size - now) / (2 * left))) {
    size = now;
    if (size < best[0]) best = [size, new Map(names)];
  } else {
    names.set(v, old);
    for (const other of swapped) names.set(other, name);
  }
}
gzip.stdin.end();
console.log(`${best[0]} bytes`);
const lists = [];
for (const v of variables) {
  const [scope, n] = v.slice(1).split("_");
  (lists[scope] ??= [])[n] = best[1].get(v);
}
writeFileSync(file("names.json"), JSON.stringify(Array.from(lists, (l = []) => l.join(" ")), null, 2) + "\n");
for (const name in mangle) mangle[name] = best[1].get(group(name));
writeFileSync(file("mangle.json"), JSON.stringify(mangle, null, 2) + "\n");
