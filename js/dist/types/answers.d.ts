import type { Conn } from "./conn.js";
import type { Sock } from "./sock.js";
import type { Data } from "./types.js";
/** Has a request answered: once, and only over the connection that it came from. */
export declare function answer(s: Sock<any>, conn: Conn, t: number, id: string, op: string, data: Data): void;
