import type { Conn } from "./conn";
import { isLocal, resolve } from "./env";
import { ErrTimeout, type ProtocolError } from "./errors";
import { ping } from "./heartbeat";
import type { Sock } from "./sock";

const events = ["online", "pageshow", "pagehide", "visibilitychange"];

/**
 * Keeps a Sock connected: when to try again, and what the browser tells about network and page. The delays grow with
 * each failure in a row, and are random between next to nothing and their bound so that the clients of a server that was
 * restarted do not come back all at once.
 */
export class KeepAlive {
  enabled = false;
  /** Milliseconds that a connection must last before the delays begin anew. */
  minUptime = 5000;
  /** The bound of the first delay, in milliseconds. It doubles with each failure up to maxDelay. */
  minDelay = 500;
  maxDelay = 5000;

  private _failures = 0;
  private _openedAt = 0;
  private _timer?: ReturnType<typeof setTimeout>;

  /** @internal */
  constructor(private _sock: Sock<any>, private _addr?: string | null) {}

  get isConnected(): boolean {
    return !!this._sock._conn?._open;
  }

  /** Connects unless connected, and keeps it so. */
  enable(): void {
    this._listen(true);
    this._connect();
  }

  /** Lets things take their course; does not close the connection. */
  disable(): void {
    this._listen(false);
    clearTimeout(this._timer);
  }

  private _listen(on: boolean): void {
    this.enabled = on;
    for (const type of events) globalThis[on ? "addEventListener" : "removeEventListener"]?.(type, this);
  }

  private _connect(): void {
    clearTimeout(this._timer);
    if (this._sock._conn) return; // somebody else was quicker
    this._sock.open(this._addr, (err) => {
      this._openedAt = err ? Infinity : Date.now();
      if (err) this._closed(err);
    });
  }

  /** @internal The connection is gone: null after an orderly close. away is when the peer wants us back, if it said. */
  _closed(err: Error | null, away?: Conn["_away"]): void {
    if (!this.enabled) return;
    if (away || Date.now() - this._openedAt >= this.minUptime) this._failures = 0;
    let delay = Math.max(100, Math.random() * Math.min(this.maxDelay, this.minDelay * 2 ** this._failures++));
    // What is wrong with one of the peers will hardly go away by itself; too long a silence is the network's fault.
    const broken = (err as ProtocolError | null)?.isGotalkProtocolError && err != ErrTimeout;
    if (broken) delay = this.maxDelay * (1 + Math.random());
    // An event tells when the browser is online again. But it can be wrong about that.
    if (globalThis.navigator?.onLine === false && !isLocal(resolve(this._addr))) delay = 60000;
    if (away) delay = Math.min(2 ** 31 - 1, away.after_ms + Math.random() * away.jitter_ms) || 0;
    this._timer = setTimeout(() => this._connect(), delay);
  }

  /** @internal For the browser, which calls it with the events above. */
  handleEvent(ev: Event): void {
    if (ev.type == "pagehide") {
      // A page with an open connection is not kept for the back button.
      this._sock._drop(null);
      clearTimeout(this._timer);
    } else if ((ev as PageTransitionEvent).persisted !== false && !globalThis.document?.hidden) {
      // Not at the first pageshow, when there is nothing to wake from.
      if (this._sock._conn) ping(this._sock, true);
      else this._connect();
    }
  }
}
