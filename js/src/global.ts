// The script tag's build: defines the one global variable.
import { gotalk as instance } from "./gotalk";

declare global {
  var gotalk: typeof instance;
}

globalThis.gotalk = instance;
