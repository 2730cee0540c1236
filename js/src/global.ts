// The script tag's build: defines the one global variable.
import gotalk from "./index";

declare global {
  var gotalk: typeof import("./index").default;
}

globalThis.gotalk = gotalk;
