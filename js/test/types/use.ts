// Checked, never run. A line below @ts-expect-error must not compile; all others must.
import gotalk, {
  connection, GotalkError, Handlers, handleStream, open, retryAfter, Sock, type Code, type Context, type Data,
  type GotalkStream, type ProtocolError, type Result, type StreamRequest, type StreamResponse,
} from "gotalk";

interface Greeting {
  text: string;
}

/** What a peer offers: one function an operation or notification. */
interface Api {
  greet(who: { name: string }): Greeting;
  sum(numbers: number[]): Promise<number>;
  now(): number;
  find(query?: string): string[];
  joined(user: string): void;
  /** Streams: what it takes and what it gives. */
  upload(rows: AsyncIterable<{ row: number }>): AsyncIterable<{ done: number }>;
  count(to: number): AsyncIterable<number>;
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <A, B>(_: Equal<A, B>): void => {};

export async function typed(): Promise<void> {
  const s = connection<Api>("ws://x/");
  is<typeof s, Sock<Api>>(true);

  const g = await s.request("greet", { name: "Bob" });
  is<typeof g, Greeting>(true);
  const n = await s.request("sum", [1, 2], { timeout: 500, signal: AbortSignal.timeout(1), retries: 0 });
  is<typeof n, number>(true);
  const now = await s.request("now");
  is<typeof now, number>(true);
  await s.request("now", undefined, { timeout: 1 });
  await s.request("find");
  await s.requestp("find", "x");
  s.request("greet", { name: "Bob" }, (err, greeting) => {
    is<typeof err, Error | null>(true);
    is<typeof greeting, Greeting | undefined>(true);
  });
  s.request("now", (err, t) => is<typeof t, number | undefined>(true));
  s.notify("joined", "Ann");
  s.notify("now");

  await s.request("now", undefined, { meta: { user: "Ann" } });

  const up = s.stream("upload", { json: true, value: { row: 0 }, signal: AbortSignal.timeout(1), timeout: 5 });
  is<typeof up, GotalkStream<{ row: number }, { done: number }>>(true);
  await up.send({ row: 1 });
  up.end();
  for await (const { done } of up) is<typeof done, number>(true);
  const raw = s.stream("upload");
  is<typeof raw, GotalkStream>(true);
  await raw.send("text");
  await raw.send(new Uint16Array(1));
  for await (const b of raw) is<typeof b, Uint8Array<ArrayBuffer>>(true);
  raw.readable.pipeTo(new WritableStream<Uint8Array>());
  raw.writable.getWriter().write("x");
  raw.cancel(new Error("why"));
  for await (const n of s.stream("count", { json: true, value: 5 })) is<typeof n, number>(true);
  // @ts-expect-error what is sent is of another type
  up.send({ rows: 1 });
  // @ts-expect-error so is the first value
  s.stream("count", { json: true, value: "5" });
  // @ts-expect-error no such operation
  s.stream("uplod", { json: true });
  // @ts-expect-error without json, chunks are bytes
  raw.send({ row: 1 });
  // @ts-expect-error a stream cannot be tried again
  s.stream("upload", { retries: 1 });
  // @ts-expect-error a stream that is iterated has no events
  raw.on("data", () => {});
  // @ts-expect-error meta is text
  s.request("now", undefined, { meta: { user: 5 } });

  // @ts-expect-error no such operation
  s.request("gret", { name: "Bob" });
  // @ts-expect-error the value is of another type
  s.request("greet", { nam: "Bob" });
  // @ts-expect-error a value is required
  s.request("greet");
  // @ts-expect-error no value is taken
  s.request("now", 5);
  // @ts-expect-error options are checked
  s.request("now", undefined, { timeOut: 5 });
  // @ts-expect-error the result is of another type
  const wrong: string = await s.request("sum", [1]);
  // @ts-expect-error notifications are checked, too
  s.notify("joined", 5);
  // @ts-expect-error they need their value
  s.notify("joined");
  // @ts-expect-error the handlers cannot be replaced
  s.handlers = new Handlers();

  s.on("open", (o) => is<typeof o, Sock<Api>>(true));
  s.on("close", (err) => is<typeof err, Error | null>(true));
  s.once("heartbeat", ({ time, load }) => is<[typeof time, typeof load], [Date, number]>(true));
  // @ts-expect-error no such event
  s.on("opened", () => {});
  // @ts-expect-error the listener wants what the event does not give
  s.on("close", (err: number) => {});
}

export function handlers(): void {
  const h = new Handlers<Api>();
  h.handleRequest("greet", ({ name }) => ({ text: name }));
  h.handleRequest("greet", async ({ name }, _result, op) => ({ text: name + op }));
  h.handleRequest("greet", (who, result) => {
    is<typeof result, Result<Greeting>>(true);
    result({ text: who.name });
    result.error(new Error("no"));
  });
  h.handleRequest("sum", (numbers) => numbers.length);
  h.handleRequest("now", () => 5);
  h.handleRequest("now", null);
  h.handleNotification("joined", (user, name) => is<[typeof user, typeof name], [string, string]>(true));
  h.handleBufferRequest("raw", (buf, result) => {
    is<typeof buf, Data>(true);
    result(buf);
    result(new DataView(new ArrayBuffer(1)));
  });
  h.handleRequest("now", (_v, _result, _op, ctx) => {
    is<typeof ctx, Context>(true);
    is<[typeof ctx.deadline, typeof ctx.meta], [number | undefined, Record<string, string>]>(true);
    return ctx.sock.request("x", 1, { signal: ctx.signal, timeout: ctx.deadline! - Date.now(), meta: ctx.meta });
  });
  h.handleNotification("joined", (user, name, { sock }) => sock.notify(name, user));
  h.handleStreamRequest("up", (stream, op, { signal }) => signal.aborted);
  h.handleStream("upload", async (stream) => {
    is<typeof stream, GotalkStream<{ done: number }, { row: number }>>(true);
    for await (const { row } of stream) await stream.send({ done: row });
  }, { json: true });
  h.handleStream("upload", async (stream) => {
    is<typeof stream, GotalkStream>(true);
    is<[typeof stream.signal, typeof stream.op], [AbortSignal, string]>(true);
    await stream.readable.pipeTo(stream.writable as WritableStream<Uint8Array>);
  });
  h.handleStream("upload", null);
  handleStream("any", async (stream) => stream.send("x"));
  gotalk.handleStream("any", async (stream) => stream.send({ a: 1 }), { json: true });
  const code: Code = "not_found";
  throw new GotalkError("no", code, { any: "thing" });
  throw new GotalkError("no", "my_own");
  throw retryAfter(500, "busy");
  // @ts-expect-error of another type
  h.handleStream("upload", (stream) => stream.send({ rows: 1 }), { json: true });
  // @ts-expect-error the reason is text
  retryAfter(500, 5);
  h.handleStreamRequest("up", async (stream, op) => {
    is<typeof stream, StreamResponse>(true);
    stream.on("data", (chunk) => stream.write(chunk));
    stream.error(op);
  });
  // @ts-expect-error no such operation
  h.handleRequest("gret", () => 5);
  // @ts-expect-error the result is of another type
  h.handleRequest("sum", () => "5");
  // @ts-expect-error also as a promise
  h.handleRequest("sum", async () => "5");
  // @ts-expect-error also by result
  h.handleRequest("sum", (v, result) => result("5"));
  // @ts-expect-error neither a string nor a BufferSource
  h.handleBufferRequest("raw", (buf, result) => result(5));
}

export async function untyped(): Promise<void> {
  const s = gotalk.open("ws://x/", (err, o) => o?.request("x"), gotalk.defaultHandlers, gotalk.protocol.text);
  is<typeof s, Sock>(true);
  const v = await s.request("anything", { at: "all" });
  v.is.any;
  s.request("anything", 1, (err, v) => v.any);
  s.request("anything", (err, v) => v.any);
  const b = await s.bufferRequest("x", new Uint16Array(1), { timeout: 5 });
  is<typeof b, Data>(true);
  s.bufferRequest("x", "y", (err, data) => data?.length);
  s.bufferNotify("x", "y");
  s.notify("x");
  gotalk.handle("x", (value, result, op) => result(value));
  gotalk.handle("", async (value) => value);
  const st: StreamRequest = s.streamRequest("x");
  st.on("end", (err) => is<typeof err, Error | null>(true));
  // @ts-expect-error a stream has no such event
  st.on("close", () => {});
  // @ts-expect-error only the answering side can fail a stream
  st.error("x");
  // @ts-expect-error neither a string nor a BufferSource
  s.bufferRequest("x", 5);

  // With and without new; options instead of handlers; a WebSocket class of one's own.
  class WS {
    constructor(readonly url: string) {}
  }
  for (const made of [gotalk.Sock(), new gotalk.Sock(null), Sock<Api>({ WebSocket: WS, noExtensions: true })]) {
    made.openKeepAlive().keepalive!.minUptime = 5;
    const ws: WebSocket | null = made.ws;
  }
  open<Api>(null, null, { heartbeatInterval: 5 }).request("now");
  class Mine extends Sock<Api> {}
  new Mine().request("now");
  // @ts-expect-error no such option
  gotalk.Sock({ webSocket: WS });
  // @ts-expect-error what is internal is not there
  s._conn;

  try {
    await s.request("x");
  } catch (err) {
    if (err instanceof GotalkError) is<typeof err.code, string>(true);
    const code: number = (err as ProtocolError).code;
  }
  gotalk.developmentMode = true;
  gotalk.defaultResponderAddress = "ws://x/";
  const same: typeof gotalk.ErrTimeout.code = gotalk.protocol.ErrorTimeout;
  gotalk.Buf(5).length;
}
