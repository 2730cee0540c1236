// What most tests begin with.
import { FakeWebSocket } from "./fake.mjs";
import { gotalk } from "./load.mjs";

export { gotalk };

export const HELLO = ["n00cgotalk:hello0000000a", JSON.stringify('{"join":1}')];
/** A hello of the peer's. */
export const hello = (json = '{"join":1}') => "n00cgotalk:hello" + json.length.toString(16).padStart(8, "0") + json;
export const turn = () => new Promise(setImmediate);

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
