import { call } from "./errors";

/** Maps the name of an event to the arguments of its listeners. */
export type EventMap = { [type: string]: unknown[] };

type Entries = readonly [fn: Listener<any>, once?: boolean][];
type Listener<A extends unknown[]> = (...args: A) => unknown;

/** Listeners by event. A listener that throws is reported and does not keep the others from being called. */
export class EventEmitter<E extends { [K in keyof E]: unknown[] } = EventMap> {
  // The lists are replaced, never changed, so one can be walked while its listeners come and go.
  private _lists = new Map<keyof E, Entries>();

  private _list(type: keyof E): Entries {
    return this._lists.get(type) || [];
  }

  /** Has fn called each time, or only the next time. Throws a TypeError if fn is not a function. */
  on<K extends keyof E>(type: K, fn: Listener<E[K]>, once?: boolean): this {
    if (typeof fn != "function") throw TypeError("listener is not a function");
    this._lists.set(type, [...this._list(type), [fn, once]]);
    return this;
  }

  /** The same as on. */
  get addListener(): this["on"] {
    return this.on;
  }

  /** Has fn called the next time only. */
  once<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    return this.on(type, fn, true);
  }

  /** Takes fn away, once if it was added several times. */
  removeListener<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    let found = false;
    this._lists.set(type, this._list(type).filter((l) => found || !(found = l[0] == fn)));
    return this;
  }

  /** The same as removeListener. */
  get off(): this["removeListener"] {
    return this.removeListener;
  }

  /** Takes all listeners away, of one event or of all. */
  removeAllListeners(type?: keyof E): this {
    if (type === undefined) this._lists.clear();
    else this._lists.delete(type);
    return this;
  }

  listeners<K extends keyof E>(type: K): Listener<E[K]>[] {
    return this._list(type).map((l) => l[0]);
  }

  /** Calls the listeners in the order in which they were added, and says whether there were any. */
  emit<K extends keyof E>(type: K, ...args: E[K]): boolean {
    const list = this._list(type);
    for (const [fn, once] of list) {
      if (once) this.removeListener(type, fn);
      call(fn.bind(this), ...args);
    }
    return list.length > 0;
  }
}
