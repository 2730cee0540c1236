package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	gotalk.HandlerErrorLogger = logOwnMistakes
	os.Exit(m.Run())
}

// served is a server for a test.
type served struct {
	*server
	dir string
	url string
}

func serveDir(t *testing.T, max int64) *served {
	dir := t.TempDir()
	files, err := openStore(dir)
	require.NoError(t, err)
	s := newServer(files, max)
	srv := httptest.NewServer(newHandler(s.webSocketServer()))
	t.Cleanup(func() {
		srv.Close()
		files.close()
	})
	return &served{s, dir, srv.URL}
}

// path of a file that is served.
func (s *served) path(name string) string { return filepath.Join(s.dir, name) }

// partials are the names of the uploads that are not complete.
func (s *served) partials(t *testing.T) (names []string) {
	entries, err := os.ReadDir(s.path(partialDir))
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (s *served) connect(t *testing.T) *client {
	c, err := connect(t.Context(), s.url)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// open begins a stream, and sends what comes first.
func open(t *testing.T, c *client, op string, first any) *gotalk.Stream {
	st, err := c.OpenStream(t.Context(), op)
	require.NoError(t, err)
	t.Cleanup(func() { st.Close() })
	require.NoError(t, sendJSON(st, first))
	return st
}

// answer is the server's next part.
func answer(t *testing.T, st *gotalk.Stream) (p place) {
	require.NoError(t, recvJSON(st, &p))
	return p
}

func random(size int) []byte {
	b := make([]byte, size)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
	rand.NewChaCha8(seed).Read(b)
	return b
}

func write(t *testing.T, path string, b []byte) string {
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

func read(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func hashOf(b []byte) string {
	h := &treeHash{}
	h.Write(b)
	return h.sum()
}

func requireCode(t *testing.T, code gotalk.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, gotalk.CodeOf(err), "%v", err)
}

func TestTreeHash(t *testing.T) {
	b := random(3*blockSize + 100)
	var digests []byte
	for i := 0; i < len(b); i += blockSize {
		sum := sha256.Sum256(b[i:min(i+blockSize, len(b))])
		digests = append(digests, sum[:]...)
	}
	sum := sha256.Sum256(digests)
	require.Equal(t, hex.EncodeToString(sum[:]), hashOf(b))
	require.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", (&treeHash{}).sum())

	h := &treeHash{}
	for rest := b; len(rest) > 0; { // however it is cut
		n := min(1+rand.IntN(400000), len(rest))
		h.Write(rest[:n])
		rest = rest[n:]
		require.Equal(t, int64(len(b)-len(rest)), h.size())
		require.Equal(t, h.sum(), h.sum())
	}
	require.Equal(t, hashOf(b), h.sum())
	h.truncate(blockSize)
	require.Equal(t, hashOf(b[:blockSize]), h.sum())
	require.NoError(t, h.extend(t.Context(), strings.NewReader(string(b)), int64(len(b))))
	require.Equal(t, hashOf(b), h.sum())
	require.NoError(t, h.extend(t.Context(), nil, 2*blockSize)) // reads nothing that it knows
	require.Equal(t, hashOf(b[:2*blockSize]), h.sum())
	require.ErrorIs(t, h.extend(t.Context(), strings.NewReader("short"), 3*blockSize), io.EOF)
}

func TestRoundTrip(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	for _, size := range []int{0, 1, partSize, blockSize - 1, blockSize, 3*blockSize + 7} {
		name := fmt.Sprintf("größe %d.bin", size)
		b := random(size)
		sent, err := c.put(t.Context(), write(t, filepath.Join(t.TempDir(), name), b), false)
		require.NoError(t, err)
		require.Equal(t, hashOf(b), sent)
		require.Equal(t, b, read(t, s.path(name)))
		dir := t.TempDir()
		got, err := c.get(t.Context(), name, dir, false)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.Equal(t, b, read(t, filepath.Join(dir, name)))
		require.NoFileExists(t, filepath.Join(dir, name+".part"))
	}
	require.Empty(t, s.partials(t))
	list, err := c.list(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 6)
	require.Equal(t, "größe 0.bin", list[0].Name)
	require.WithinDuration(t, time.Now(), list[0].Modified, time.Minute)
}

func TestConnectionBreaksAtRandomOffsets(t *testing.T) {
	s := serveDir(t, 1<<30)
	for range 8 {
		b := random(6*blockSize + rand.IntN(blockSize))
		c := s.connect(t)
		var resumed, cuts []int64
		var next int64
		var try *gotalk.Stream
		c.progress = func(_ string, done, size int64) {
			if try != c.stream {
				resumed = append(resumed, done)
				next = done + rand.Int64N(size)
				try = c.stream
			}
			if done >= next && len(cuts) < len(resumed) && len(cuts) < 3 {
				cuts = append(cuts, done)
				c.stream.Sock().Close()
			}
		}
		path := write(t, filepath.Join(t.TempDir(), "a.bin"), b)
		_, err := c.put(t.Context(), path, true)
		require.NoError(t, err)
		require.Equal(t, b, read(t, s.path("a.bin")))
		const window = 256 << 10
		for i, at := range resumed[1:] {
			require.Zero(t, at%blockSize)
			require.LessOrEqual(t, at, cuts[i])
			require.Greater(t, at, cuts[i]-window-partSize-blockSize, "what the server had taken is not sent again")
		}

		resumed, cuts = nil, nil
		_, err = c.get(t.Context(), "a.bin", filepath.Dir(path), true)
		require.NoError(t, err)
		require.Equal(t, b, read(t, path))
		for i, at := range resumed[1:] {
			require.Zero(t, at%blockSize)
			require.Greater(t, at, cuts[i]-blockSize)
		}
	}
}

func TestResumeInAnotherProcess(t *testing.T) {
	s := serveDir(t, 1<<30)
	b := random(4*blockSize + 9)
	path := write(t, filepath.Join(t.TempDir(), "a.bin"), b)
	stopAfter := func(transfer func(context.Context, *client) error) {
		c := s.connect(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.progress = func(_ string, done, _ int64) {
			if done > 3*blockSize {
				cancel()
			}
		}
		require.ErrorIs(t, transfer(ctx, c), context.Canceled)
		c.Close()
	}
	stopAfter(func(ctx context.Context, c *client) error { _, err := c.put(ctx, path, false); return err })
	require.NoFileExists(t, s.path("a.bin"))
	require.Equal(t, []string{"a.bin"}, s.partials(t))

	c := s.connect(t)
	var from []int64
	c.progress = func(_ string, done, _ int64) { from = append(from, done) }
	c.from = "" // not even somebody who may take over: the other one is gone for good
	require.Eventually(t, func() bool {
		_, err := c.put(t.Context(), path, false)
		return err == nil
	}, 5*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, from[0], int64(2*blockSize))
	require.Equal(t, b, read(t, s.path("a.bin")))

	dir := t.TempDir()
	stopAfter(func(ctx context.Context, c *client) error { _, err := c.get(ctx, "a.bin", dir, false); return err })
	require.FileExists(t, filepath.Join(dir, "a.bin.part"))
	from = nil
	_, err := c.get(t.Context(), "a.bin", dir, false)
	require.NoError(t, err)
	require.Equal(t, int64(3*blockSize), from[0])
	require.Equal(t, b, read(t, filepath.Join(dir, "a.bin")))
}

func TestOtherBytesUnderTheSameName(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	dir := t.TempDir()
	write(t, s.path(partial("a.bin")), random(3*blockSize))
	b := random(2*blockSize + 50)
	_, err := c.put(t.Context(), write(t, filepath.Join(dir, "a.bin"), b), false)
	require.NoError(t, err)
	require.Equal(t, b, read(t, s.path("a.bin")))

	here := t.TempDir()
	for _, before := range []int{2 * blockSize, 5 * blockSize} { // other bytes, more than there are
		write(t, filepath.Join(here, "a.bin.part"), random(before))
		_, err = c.get(t.Context(), "a.bin", here, true)
		require.NoError(t, err)
		require.Equal(t, b, read(t, filepath.Join(here, "a.bin")))
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestFilesDoNotSitInMemory(t *testing.T) {
	const size = 64 << 20
	s := serveDir(t, 1<<30)
	path := filepath.Join(t.TempDir(), "big.bin")
	require.NoError(t, generate(path, size))
	c := s.connect(t)
	before, most, next := heap(), int64(0), int64(0)
	c.progress = func(_ string, done, size int64) {
		if done >= next || done == size {
			next = done + 4<<20
			most = max(most, heap()-before)
		}
	}
	_, err := c.put(t.Context(), path, false)
	require.NoError(t, err)
	next = 0
	_, err = c.get(t.Context(), "big.bin", t.TempDir(), false)
	require.NoError(t, err)
	require.Less(t, most, int64(4<<20), "both sides together")

	// A peer that reads nothing holds up nobody, and nothing is read for it ahead of time.
	before = heap()
	st := open(t, c, downloadOp, downloadRequest{Name: "big.bin"})
	for range 20 {
		_, err := c.list(t.Context())
		require.NoError(t, err)
	}
	require.Less(t, heap()-before, int64(2<<20))
	require.Equal(t, int64(size), answer(t, st).Size)
}
