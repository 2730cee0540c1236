import type { Conn } from "./conn.js";
import type { Sock } from "./sock.js";
import type { Data } from "./types.js";
/** How many bytes of a stream may be under way to us, in each direction, that nobody has consumed yet. */
export declare const window = 262144;
/** How long messages that need to know what the peer can do wait for its hello, in milliseconds. */
export declare const helloWait = 100;
export declare const maxSize = 16384;
/** What we can do. split is the size of the parts of large payloads that we like to get. */
export declare const hello: string;
/** Takes an extension message. Throws if it makes no sense. */
export declare function onExtension(s: Sock<any>, conn: Conn, name: string, data: Data): void;
