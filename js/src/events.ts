import { call } from "./errors";

/** Maps the name of an event to the arguments of its listeners. */
export type EventMap = { [type: string]: unknown[] };

type Listener<A extends unknown[]> = (...args: A) => unknown;

/** Listeners by event. A listener that throws is reported and does not keep the others from being called. */
export class EventEmitter<E extends { [K in keyof E]: unknown[] } = EventMap> {
  // The lists are replaced, never changed, so one can be walked while its listeners come and go.
  private _lists = new Map<keyof E, readonly { _fn: Listener<any>; _once?: boolean }[]>();

  /** Has fn called each time. Throws a TypeError if fn is not a function. */
  on<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    return this._add(type, fn);
  }

  addListener<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    return this._add(type, fn);
  }

  /** Has fn called the next time only. */
  once<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    return this._add(type, fn, true);
  }

  private _add(type: keyof E, fn: Listener<any>, once?: boolean): this {
    if (typeof fn != "function") throw new TypeError("listener is not a function");
    this._lists.set(type, [...(this._lists.get(type) || []), { _fn: fn, _once: once }]);
    return this;
  }

  /** Takes fn away, once if it was added several times. */
  removeListener<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    const list = this._lists.get(type) || [];
    const i = list.findIndex((l) => l._fn == fn);
    this._lists.set(type, list.filter((_, j) => j != i));
    return this;
  }

  off<K extends keyof E>(type: K, fn: Listener<E[K]>): this {
    return this.removeListener(type, fn);
  }

  /** Takes all listeners away, of one event or of all. */
  removeAllListeners(type?: keyof E): this {
    if (type === undefined) this._lists.clear();
    else this._lists.delete(type);
    return this;
  }

  listeners<K extends keyof E>(type: K): Listener<E[K]>[] {
    return (this._lists.get(type) || []).map((l) => l._fn);
  }

  /** Calls the listeners in the order in which they were added, and says whether there were any. */
  emit<K extends keyof E>(type: K, ...args: E[K]): boolean {
    const list = this._lists.get(type) || [];
    for (const l of list) {
      if (l._once) this.removeListener(type, l._fn);
      call(l._fn.bind(this), ...args);
    }
    return list.length > 0;
  }
}
