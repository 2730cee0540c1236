declare global {
    var gotalk: typeof import("./index.js").default;
}
export {};
