import type { Conn } from "./conn.js";
import type { Sock } from "./sock.js";
/** Sends the payload b of owner's request or result, as type says, in parts of size bytes, until that is cancelled or over. */
export declare function sendParts(s: Sock<any>, conn: Conn, owner: any, type: number, id: string, name: string | null | undefined, b: Uint8Array<ArrayBuffer>, size: number): void;
