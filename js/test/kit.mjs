// What most tests begin with.
import { FakeWebSocket } from "./fake.mjs";
import { gotalk } from "./load.mjs";

export { gotalk };

const ours = '{"cancel":1,"credit":262144,"error":1,"goaway":1,"join":1,"meta":1,"split":65536}';
export const HELLO = ["n00cgotalk:hello00000051", JSON.stringify(ours)];
/** What a peer of ours says, but for join, so that every message is seen by itself. */
export const modern = '{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1}';
/** A hello of the peer's. */
export const hello = (json = '{"join":1}') => "n00cgotalk:hello" + json.length.toString(16).padStart(8, "0") + json;
export const turn = () => new Promise(setImmediate);

/** Lets tasks run until there is what a function returns, and returns that. */
export async function until(there) {
  for (let i = 0; i < 1e5; i++) {
    const v = there();
    if (v) return v;
    await turn();
  }
  throw new Error("it never came: " + there);
}

/** Time is the test's from here on. */
export function sock(t, options) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  FakeWebSocket.all = [];
  const s = gotalk.Sock({ WebSocket: FakeWebSocket, ...options });
  t.after(() => {
    s.end();
    s.end();
  });
  return s;
}

/** An open Sock that has said hello, and the server's end of it. */
export function connected(t, options) {
  const s = sock(t, options).open("ws://test/");
  const ws = FakeWebSocket.last().open().bin("01");
  ws.take();
  return [s, ws];
}

/** The same, to a peer that said hello, too. */
export function friends(t, options, said = modern) {
  const [s, ws] = connected(t, options);
  ws.bin(hello(said));
  return [s, ws];
}

export const size = (s, n = 8) => s.length.toString(16).padStart(n, "0");
/** An extension message as the peer sends it, in one piece. */
export const ext = (name, payload) => `n${size("gotalk:" + name, 3)}gotalk:${name}${size(payload)}${payload}`;

/** What was sent but for heartbeats, each message as one text of its header and payload. */
export function sent(ws) {
  const out = [];
  let body = false;
  for (const m of ws.takeMessages()) {
    if (body) out[out.length - 1] += m[0] == '"' ? JSON.parse(m) : m;
    else out.push(m);
    body = !body && !/^(f|close|01$)|0{8}$/.test(m);
  }
  return out;
}

/** What is thrown where nobody can catch it. */
export async function uncaught(fn) {
  const errs = [];
  process.setUncaughtExceptionCaptureCallback((err) => errs.push(err.message));
  try {
    await fn();
    await turn();
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
  return errs;
}
