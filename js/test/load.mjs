// The script as a page gets it, mangled and minified: defines globalThis.gotalk.
import { readFileSync } from "node:fs";
import vm from "node:vm";

export const file = new URL("../dist/gotalk.js", import.meta.url);
export const script = readFileSync(file, "utf8");
vm.runInThisContext(script, { filename: "gotalk.js" });
export const gotalk = globalThis.gotalk;
