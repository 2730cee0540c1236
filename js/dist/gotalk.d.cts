import type gotalk from "./types/index.js" with { "resolution-mode": "import" };
declare const instance: typeof gotalk;
export = instance;
