import { resolve } from "./address";
import { ErrTimeout, type ProtocolError } from "./errors";
import type { Sock } from "./sock";

const events = ["online", "pageshow", "pagehide", "visibilitychange"];

/**
 * Keeps a Sock connected: when to try again, and what the browser tells about network and page. The delays grow with
 * each failure in a row, and are random between zero and their bound so that the clients of a server that was
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
    if (this.enabled) return;
    this.enabled = true;
    for (const type of events) globalThis.addEventListener?.(type, this);
    this._connect();
  }

  /** Lets things take their course; does not close the connection. */
  disable(): void {
    this.enabled = false;
    for (const type of events) globalThis.removeEventListener?.(type, this);
    clearTimeout(this._timer);
  }

  private _connect(): void {
    clearTimeout(this._timer);
    if (this._sock._conn) return; // somebody else was quicker
    this._sock.open(this._addr, (err) => {
      this._openedAt = Date.now();
      if (err) this._again(err);
    });
  }

  /** @internal The connection is gone: null after an orderly close. */
  _closed(err: Error | null): void {
    if (Date.now() - this._openedAt >= this.minUptime) this._failures = 0;
    this._again(err);
  }

  private _again(err: Error | null): void {
    if (!this.enabled) return;
    const bound = Math.min(this.maxDelay, this.minDelay * 2 ** this._failures);
    let delay = Math.random() * bound;
    if (!err) delay = Math.max(100, delay); // it was the peer's wish
    if (err == ErrTimeout) {
      if (!this._failures) delay = 0; // the network's fault, and it may be long over
    } else if ((err as ProtocolError | null)?.isGotalkProtocolError) {
      delay = this.maxDelay * (1 + Math.random()); // will hardly go away by itself
    }
    this._failures++;
    // What is offline by its own account is told by an event when that changes. Yet such accounts can be wrong.
    if (globalThis.navigator?.onLine === false && !/\/\/(localhost|127\.|\[::1\])/.test(resolve(this._addr))) delay = 60000;
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
      if (this._sock._conn) this._sock._wake();
      else this._connect();
    }
  }
}
