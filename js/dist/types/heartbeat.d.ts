import type { Sock } from "./sock.js";
/** Sends the next heartbeat after delay, and from then on one every interval. */
export declare function schedule(s: Sock<any>, delay: number): void;
/**
 * Sends a heartbeat. A peer of ours answers it; if nothing comes in time, the connection is dead. It may well be if
 * we have just woken from a sleep, or the network has changed.
 */
export declare function ping(s: Sock<any>, woken?: boolean): void;
