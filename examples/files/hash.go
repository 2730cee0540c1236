package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// blockSize is how much of a file is hashed at a time. Transfers resume at multiples of it.
const blockSize = 1 << 20

// treeHash is the SHA-256 of the SHA-256 digests of a file's blocks. Browsers can compute it while a file comes in: what
// they have digests only what is in memory as a whole. It also knows the hash of any part that ends with a block, so
// that two sides can find out whether they have the same beginning.
type treeHash struct {
	digests []byte    // of the complete blocks
	block   hash.Hash // of the one that is not; nil before the first byte
	n       int       // bytes in block
}

// Write takes the next bytes of the file. It cannot fail.
func (h *treeHash) Write(p []byte) (int, error) {
	if h.block == nil {
		h.block = sha256.New()
	}
	for b := p; len(b) > 0; {
		k := min(len(b), blockSize-h.n)
		h.block.Write(b[:k])
		h.n += k
		b = b[k:]
		if h.n == blockSize {
			h.digests = h.block.Sum(h.digests)
			h.block.Reset()
			h.n = 0
		}
	}
	return len(p), nil
}

// size returns how many bytes were written.
func (h *treeHash) size() int64 { return int64(len(h.digests)/sha256.Size)*blockSize + int64(h.n) }

// truncate forgets what was written behind size, a multiple of blockSize.
func (h *treeHash) truncate(size int64) {
	h.digests = h.digests[:min(size/blockSize*sha256.Size, int64(len(h.digests)))]
	h.n = 0
	if h.block != nil {
		h.block.Reset()
	}
}

// sum returns the hash of what was written, in hexadecimal digits.
func (h *treeHash) sum() string {
	digests := h.digests[:len(h.digests):len(h.digests)] // so that appending copies
	if h.n > 0 {
		digests = h.block.Sum(digests)
	}
	sum := sha256.Sum256(digests)
	return hex.EncodeToString(sum[:])
}

// extend makes h the hash of the first size bytes of r. It reads only what h does not know.
func (h *treeHash) extend(ctx context.Context, r io.ReaderAt, size int64) error {
	h.truncate(blocks(size))
	for at := h.size(); at < size; at = h.size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(blockSize, size-at)
		if _, err := io.CopyN(h, io.NewSectionReader(r, at, n), n); err != nil {
			return err
		}
	}
	return nil
}

// blocks rounds size down to where a transfer can resume.
func blocks(size int64) int64 { return size / blockSize * blockSize }
