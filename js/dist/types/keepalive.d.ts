/**
 * Keeps a Sock connected: when to try again, and what the browser tells about network and page. The delays grow with
 * each failure in a row, and are random between next to nothing and their bound so that the clients of a server that was
 * restarted do not come back all at once.
 */
export declare class KeepAlive {
    private _sock;
    private _addr?;
    enabled: boolean;
    /** Milliseconds that a connection must last before the delays begin anew. */
    minUptime: number;
    /** The bound of the first delay, in milliseconds. It doubles with each failure up to maxDelay. */
    minDelay: number;
    maxDelay: number;
    private _failures;
    private _openedAt;
    private _timer?;
    get isConnected(): boolean;
    /** Connects unless connected, and keeps it so. */
    enable(): void;
    /** Lets things take their course; does not close the connection. */
    disable(): void;
    private _listen;
    private _connect;
}
