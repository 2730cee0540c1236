// In Node, over real sockets, with the WebSocket class of the package ws and where there is one, that of Node.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { gotalk } from "./load.mjs";

/** Answers every request with its own payload, as an old server does: a message for the header and one for the rest. */
async function echoServer(t) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  t.after(() => {
    for (const c of server.clients) c.terminate();
    server.close();
  });
  await once(server, "listening");
  server.on("connection", (ws) => {
    ws.send(Buffer.from("01"));
    let head;
    ws.on("message", (data) => {
      const s = data.toString("latin1");
      if (head) ws.send(head), ws.send(data), (head = null);
      else if (s[0] == "r") {
        head = Buffer.from("R" + s.slice(1, 5) + s.slice(-8), "latin1");
        if (s.endsWith("00000000")) ws.send(head), (head = null);
      }
    });
  });
  return `ws://127.0.0.1:${server.address().port}/`;
}

const classes = { "the package ws": WebSocket };
if (globalThis.WebSocket) classes["Node itself"] = globalThis.WebSocket;

for (const [name, WS] of Object.entries(classes)) {
  test("with the WebSocket of " + name, async (t) => {
    const addr = await echoServer(t);
    const s = gotalk.open(addr, null, { WebSocket: WS });
    const closed = new Promise((resolve) => s.on("close", resolve));
    assert.equal(await s.request("echo", "😀\0"), "😀\0");
    assert.deepEqual(await s.bufferRequest("echo", new Uint8Array([0, 255])), new Uint8Array([0, 255]));
    const big = new Uint8Array(5 << 20).map((_, i) => i * 7);
    assert.deepEqual(await s.bufferRequest("echo", big), big);
    s.end();
    assert.equal(await closed, null);
  });

  test("nobody there, with the WebSocket of " + name, { timeout: 10000 }, async () => {
    const err = await new Promise((resolve) => gotalk.open("ws://127.0.0.1:1/", resolve, { WebSocket: WS }));
    assert.match(err.message, /^connection failed: #1006 \(abnormal\)$/);
  });
}
