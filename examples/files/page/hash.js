// The hash of a file is the SHA-256 of the SHA-256 digests of its blocks, as hash.go has it: browsers digest only what is
// in memory as a whole, and a file must not be.

/** How much is hashed at a time, in bytes. Transfers resume at multiples of it. */
export const blockSize = 1 << 20;

export const blocks = (size) => Math.floor(size / blockSize) * blockSize;

const digest = (bytes) => crypto.subtle.digest("SHA-256", bytes).then((b) => new Uint8Array(b));

export class TreeHash {
  #digests = [];

  /** How many bytes were added, if all blocks were full. */
  get size() {
    return this.#digests.length * blockSize;
  }

  /** Adds the next block. Only a file's last one may be shorter than blockSize. */
  async add(block) {
    this.#digests.push(await digest(block));
  }

  /** Forgets what is behind size, a multiple of blockSize. */
  truncate(size) {
    this.#digests.length = Math.min(this.#digests.length, size / blockSize);
  }

  /** The hash of what was added, in hexadecimal digits. */
  async sum() {
    const sum = await digest(await new Blob(this.#digests).arrayBuffer());
    return Array.from(sum, (b) => b.toString(16).padStart(2, "0")).join("");
  }
}
