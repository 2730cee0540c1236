/** Maps the name of an event to the arguments of its listeners. */
export type EventMap = {
    [type: string]: unknown[];
};
type Listener<A extends unknown[]> = (...args: A) => unknown;
/** Listeners by event. A listener that throws is reported and does not keep the others from being called. */
export declare class EventEmitter<E extends {
    [K in keyof E]: unknown[];
} = EventMap> {
    private _lists;
    private _list;
    /** Has fn called each time, or only the next time. Throws a TypeError if fn is not a function. */
    on<K extends keyof E>(type: K, fn: Listener<E[K]>, once?: boolean): this;
    /** The same as on. */
    get addListener(): this["on"];
    /** Has fn called the next time only. */
    once<K extends keyof E>(type: K, fn: Listener<E[K]>): this;
    /** Takes fn away, once if it was added several times. */
    removeListener<K extends keyof E>(type: K, fn: Listener<E[K]>): this;
    /** The same as removeListener. */
    get off(): this["removeListener"];
    /** Takes all listeners away, of one event or of all. */
    removeAllListeners(type?: keyof E): this;
    listeners<K extends keyof E>(type: K): Listener<E[K]>[];
    /** Calls the listeners in the order in which they were added, and says whether there were any. */
    emit<K extends keyof E>(type: K, ...args: E[K]): boolean;
}
export {};
