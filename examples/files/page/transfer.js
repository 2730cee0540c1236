// Uploads and downloads over streams; wire.go says what goes over them.
import { TreeHash, blocks, blockSize } from "./hash.js";

const partSize = 65536; // bytes
const most = 3; // transfers at the same time

// Who knows this may take over an upload of ours: we, on the next connection, while the server holds the last one to be
// alive.
const from = crypto.randomUUID?.() ?? "";

let running = 0;
let waiting = []; // for a turn
let lost = 0; // connections

export const sock = gotalk.connection();
sock.on("close", () => lost++);

const parse = (part) => JSON.parse(new TextDecoder().decode(part));

/** Waits for a promise, but not longer than until the signal is aborted. */
const unless = (signal, promise) => new Promise((resolve, reject) => {
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
});

/**
 * A file that is uploaded (file is given) or downloaded. onchange is called when anything that is seen has changed. state is
 * waiting, running, done, failed (error says why), or cancelled.
 */
export class Transfer {
  state = "cancelled";
  error = null;
  done = 0; // bytes
  overwrite = false;
  blob = null; // what a download has brought

  #hash = new TreeHash(); // of what was read, over all tries
  #sum; // the hash of all of it, when that is known
  #blocks = []; // what was downloaded, each a Blob so that the browser may keep it on disk
  #control;
  #last = Promise.resolve(); // the latest try; never fails
  #samples = []; // [time, done] of the last seconds
  #onchange;

  constructor(name, size, file, onchange) {
    this.name = name;
    this.size = size;
    this.file = file;
    this.#onchange = onchange;
  }

  get active() {
    return this.state == "waiting" || this.state == "running";
  }

  /** Bytes per second, lately; 0 if not known. */
  get rate() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return first && last[0] - first[0] > 200 ? ((last[1] - first[1]) / (last[0] - first[0])) * 1000 : 0;
  }

  cancel() {
    this.#control?.abort();
    if (this.active) this.#set("cancelled");
  }

  /** Begins, or goes on where it was cancelled or failed. Lost connections do not end it. */
  async start() {
    if (this.active) return;
    const control = (this.#control = new AbortController());
    const { signal } = control;
    const set = (...args) => control == this.#control && !signal.aborted && this.#set(...args);
    set("waiting");
    for (;;) {
      const before = lost;
      try {
        await unless(signal, this.#last); // an earlier try may not have noticed yet that it was cancelled
        if (!sock.keepalive.isConnected) await unless(signal, new Promise((resolve) => sock.once("open", resolve)));
        while (running >= most) await unless(signal, new Promise((resolve) => waiting.push(resolve)));
        running++;
        set("running");
        const run = (this.file ? this.#upload(signal) : this.#download(signal)).finally(() => {
          running--;
          for (const resolve of waiting.splice(0)) resolve();
        });
        this.#last = run.catch(() => {});
        await run;
        return set("done");
      } catch (err) {
        if (signal.aborted) return;
        if (lost == before && err.code != "unavailable") {
          if (err.code == "data_loss") this.#forget(0);
          return set("failed", err);
        }
      }
      set("waiting");
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 500)); // not all at once
      if (signal.aborted) return;
    }
  }

  #set(state, error = null) {
    this.state = state;
    this.error = error;
    this.#samples = [];
    this.#onchange(this);
  }

  #moved(done, from) {
    const now = performance.now();
    this.done = done;
    if (from) this.#samples = [];
    if (!this.#samples.length || now - this.#samples.at(-1)[0] > 100) {
      this.#samples.push([now, done]);
      while (now - this.#samples[0][0] > 5000) this.#samples.shift();
      this.#onchange(this);
    }
  }

  // Forgets what is known of the bytes behind size.
  #forget(size) {
    this.#hash.truncate(size);
    this.#blocks.length = Math.min(this.#blocks.length, size / blockSize);
  }

  async #upload(signal) {
    const { file, size, name, overwrite } = this;
    const read = (at) => file.slice(at, at + blockSize).arrayBuffer().then((b) => new Uint8Array(b));
    const s = new Conversation("upload", { name, size, from, overwrite, hash: this.#sum }, signal);
    try {
      const have = await s.receive();
      if (have.complete) return;
      this.#forget(have.offset);
      while (this.#hash.size < have.offset) {
        signal.throwIfAborted();
        await this.#hash.add(await read(this.#hash.size));
      }
      let at = have.offset;
      if ((await this.#hash.sum()) != have.hash) {
        at = 0; // the server has the beginning of another file
        this.#forget(0);
      }
      this.#moved(at, true);
      await s.send({ offset: at });
      while (at < size) {
        const block = await read(at);
        await this.#hash.add(block);
        for (let i = 0; i < block.length; i += partSize) {
          const part = block.subarray(i, i + partSize);
          await s.stream.send(part); // waits until the server takes it
          this.#moved((at += part.length));
        }
      }
      this.#sum = await this.#hash.sum();
      await s.send({ offset: size, hash: this.#sum });
      const end = await s.receive();
      if (end.hash != this.#sum) throw new gotalk.GotalkError("the server's hash is another one", "data_loss");
      await s.end();
    } finally {
      s.stream.cancel(); // unless it is over
    }
  }

  async #download(signal) {
    const { name } = this;
    this.#forget(Math.min(this.#hash.size, blocks(this.size)));
    const offset = this.#hash.size;
    const s = new Conversation("download", { name, offset, hash: offset ? await this.#hash.sum() : undefined }, signal);
    try {
      const begin = await s.receive();
      this.#forget(begin.offset); // 0 if it is another file by now
      this.size = begin.size;
      this.#moved(begin.offset, true);
      // A chunk that is not taken holds up the server, so that there is never more here than a block and a window.
      const block = new Uint8Array(blockSize);
      for (let at = begin.offset, n = 0; at < this.size; ) {
        for (let chunk = await s.chunk(this.size - at); chunk.length; ) {
          const k = Math.min(chunk.length, blockSize - n);
          block.set(chunk.subarray(0, k), n);
          chunk = chunk.subarray(k);
          n += k;
          at += k;
          if (n < blockSize && at < this.size) continue;
          await this.#hash.add(block.subarray(0, n));
          this.#blocks.push(new Blob([block.subarray(0, n)]));
          n = 0;
        }
        this.#moved(at);
      }
      const end = await s.receive();
      if (end.hash != (await this.#hash.sum())) throw new gotalk.GotalkError("what came is not what was sent: the hash differs", "data_loss");
      await s.end();
      this.blob = new Blob(this.#blocks, { type: "application/octet-stream" });
    } finally {
      s.stream.cancel();
    }
  }
}

/** A stream whose beginning and end are JSON, with bytes between. */
class Conversation {
  constructor(op, request, signal) {
    this.stream = sock.stream(op, { value: JSON.stringify(request), signal });
    this.chunks = this.stream[Symbol.asyncIterator]();
  }

  send(value) {
    return this.stream.send(JSON.stringify(value));
  }

  /** The next chunk, of at most that many bytes. */
  async chunk(most = Infinity) {
    const { done, value } = await this.chunks.next();
    if (done) throw new gotalk.GotalkError("the server has ended the transfer too early", "aborted");
    if (value.length > most) throw new gotalk.GotalkError("the server has sent too much", "internal");
    return value;
  }

  async receive() {
    return parse(await this.chunk());
  }

  async end() {
    this.stream.end();
    await this.chunks.next();
  }
}
