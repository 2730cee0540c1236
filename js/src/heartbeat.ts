// When heartbeats are sent, and what the lack of an answer means.
import { ErrTimeout } from "./errors";
import type { Sock } from "./sock";

const aliveWait = 5000; // for a sign of life after a sleep
const deadAfter = 90000; // silence that connections to peers that do not answer heartbeats cannot have survived

/** Sends the next heartbeat after delay, and from then on one every interval. */
export function schedule(s: Sock<any>, delay: number): void {
  const conn = s._conn;
  const interval = s.heartbeatInterval;
  clearTimeout(conn?._timer);
  if (interval && interval < 10) throw Error("Sock.heartbeatInterval is too low");
  if (conn && interval) conn._timer = setTimeout(() => {
    // A timer that is long overdue: the machine slept, or the page was frozen.
    ping(s, Date.now() - conn._beatAt > interval + 30000);
    schedule(s, s.heartbeatInterval);
  }, delay);
}

/**
 * Sends a heartbeat. A peer of ours answers it; if nothing comes in time, the connection is dead. It may well be if
 * we have just woken from a sleep, or the network has changed.
 */
export function ping(s: Sock<any>, woken?: boolean): void {
  const conn = s._conn;
  if (!conn?._open) return;
  if (woken) {
    conn._alive();
    if (!conn._answers && s.heartbeatInterval && Date.now() - conn._beatAt > deadAfter) return s._drop(ErrTimeout);
  }
  s.sendHeartbeat(0);
  if (!conn._answers || conn._probe) return;
  const wait = woken ? aliveWait : Math.max(s.heartbeatInterval, aliveWait);
  const due = Date.now() + wait;
  conn._probe = setTimeout(() => {
    conn._probe = undefined;
    // When the timer is late the answer may be waiting behind it.
    if (Date.now() > due + 1000) ping(s, true);
    else s._drop(ErrTimeout);
  }, wait);
}
