import { gotalk as instance } from "./gotalk.js";
declare global {
    var gotalk: typeof instance;
}
