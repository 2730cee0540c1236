package main

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func TestWrongHash(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	b := random(blockSize + 10)
	st := open(t, c, uploadOp, uploadRequest{Name: "a.bin", Size: int64(len(b))})
	require.Equal(t, place{Hash: (&treeHash{}).sum()}, answer(t, st))
	require.NoError(t, sendJSON(st, place{}))
	_, err := st.Write(b)
	require.NoError(t, err)
	require.NoError(t, sendJSON(st, place{Hash: hashOf(b[1:])}))
	_, err = st.Recv()
	requireCode(t, gotalk.CodeDataLoss, err)
	require.Empty(t, s.partials(t))
	require.NoFileExists(t, s.path("a.bin"))

	// A server that says another hash than that of what it has sent.
	h := &gotalk.Handlers{}
	h.HandleStream(downloadOp, func(_ context.Context, st *gotalk.Stream) error {
		if err := sendJSON(st, place{Size: int64(len(b))}); err != nil {
			return err
		}
		if _, err := st.Write(b); err != nil {
			return err
		}
		return sendJSON(st, place{Hash: hashOf(b[1:])})
	})
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = h
	srv := httptest.NewServer(ws)
	defer srv.Close()
	c, err = connect(t.Context(), srv.URL)
	require.NoError(t, err)
	defer c.Close()
	dir := t.TempDir()
	_, err = c.get(t.Context(), "a.bin", dir, false)
	requireCode(t, gotalk.CodeDataLoss, err)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestMoreOrFewerBytesThanAnnounced(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	st := open(t, c, uploadOp, uploadRequest{Name: "a.bin", Size: 10})
	answer(t, st)
	require.NoError(t, sendJSON(st, place{}))
	_, err := st.Write(make([]byte, 100))
	require.NoError(t, err)
	_, err = st.Recv()
	requireCode(t, gotalk.CodeInvalidArgument, err)

	st = open(t, c, uploadOp, uploadRequest{Name: "b.bin", Size: 10})
	answer(t, st)
	require.NoError(t, sendJSON(st, place{}))
	require.NoError(t, st.Send(make([]byte, 9)))
	require.NoError(t, st.CloseSend())
	_, err = st.Recv()
	requireCode(t, gotalk.CodeAborted, err)
	require.NoFileExists(t, s.path("a.bin"))
	require.NoFileExists(t, s.path("b.bin"))
}

func TestHostileRequests(t *testing.T) {
	s := serveDir(t, 1000)
	c := s.connect(t)
	secret := write(t, filepath.Join(t.TempDir(), "secret"), []byte("secret"))
	require.NoError(t, os.Symlink(secret, s.path("link")))
	require.NoError(t, os.Symlink(filepath.Dir(secret), s.path("linked")))
	require.NoError(t, os.Mkdir(s.path("folder"), 0o777))
	names := []string{
		"", ".", "..", "../secret", "/etc/passwd", secret, `..\secret`, "folder/file", "linked/secret", ".partial", ".partial/a", ".hidden",
		"a\x00b", "a\nb", strings.Repeat("x", maxName+1), "a/", "~/../a/../../b", "\x1b[31mred",
	}
	for _, name := range names {
		_, err := open(t, c, uploadOp, uploadRequest{Name: name}).Recv()
		requireCode(t, gotalk.CodeInvalidArgument, err)
		_, err = open(t, c, downloadOp, downloadRequest{Name: name}).Recv()
		requireCode(t, gotalk.CodeInvalidArgument, err)
		_, err = c.get(t.Context(), name, t.TempDir(), true)
		requireCode(t, gotalk.CodeInvalidArgument, err)
	}
	requireCode(t, gotalk.CodeInvalidArgument, checkName("\xff")) // JSON makes it another name
	for _, name := range []string{"link", "linked", "folder", "none"} {
		_, err := open(t, c, downloadOp, downloadRequest{Name: name}).Recv()
		requireCode(t, gotalk.CodeNotFound, err)
	}
	for _, name := range []string{"link", "folder"} { // only files are replaced
		_, err := c.put(t.Context(), write(t, filepath.Join(t.TempDir(), name), []byte("new")), true)
		requireCode(t, gotalk.CodeAlreadyExists, err)
	}
	require.Equal(t, "secret", string(read(t, secret)))

	_, err := open(t, c, uploadOp, uploadRequest{Name: "a", Size: -1}).Recv()
	requireCode(t, gotalk.CodeInvalidArgument, err)
	_, err = open(t, c, uploadOp, uploadRequest{Name: "a", Size: 1001}).Recv()
	requireCode(t, gotalk.CodeResourceExhausted, err)
	_, err = open(t, c, uploadOp, "no object").Recv()
	requireCode(t, gotalk.CodeInvalidArgument, err)
	st := open(t, c, uploadOp, uploadRequest{Name: "a", Size: 1000})
	answer(t, st)
	require.NoError(t, sendJSON(st, place{Offset: 500}))
	_, err = st.Recv()
	requireCode(t, gotalk.CodeOutOfRange, err)
	write(t, s.path("b"), make([]byte, 10))
	for _, offset := range []int64{-blockSize, 1, 1<<62>>1<<1 | 1} {
		_, err = open(t, c, downloadOp, downloadRequest{Name: "b", Offset: offset}).Recv()
		requireCode(t, gotalk.CodeOutOfRange, err)
	}
	require.Equal(t, place{Size: 10}, answer(t, open(t, c, downloadOp, downloadRequest{Name: "b", Offset: 1 << 62}))) // from the beginning
	list, err := c.list(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1, "only b")
}

func TestReplace(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	dir := t.TempDir()
	put := func(text string, overwrite bool) error {
		_, err := c.put(t.Context(), write(t, filepath.Join(dir, "a"), []byte(text)), overwrite)
		return err
	}
	require.NoError(t, put("old", false))
	requireCode(t, gotalk.CodeAlreadyExists, put("new", false))
	require.Equal(t, "old", string(read(t, s.path("a"))))

	// Who is reading the old one gets it to its end.
	write(t, s.path("a"), make([]byte, 3*blockSize))
	st := open(t, c, downloadOp, downloadRequest{Name: "a"})
	answer(t, st)
	require.NoError(t, put("newer", true))
	require.Equal(t, "newer", string(read(t, s.path("a"))))
	h := &treeHash{}
	_, err := io.CopyN(h, st, 3*blockSize)
	require.NoError(t, err)
	require.Equal(t, place{Offset: 3 * blockSize, Hash: h.sum()}, answer(t, st))

	requireCode(t, gotalk.CodeAlreadyExists, func() error { _, err := c.get(t.Context(), "a", dir, false); return err }())
	require.NoError(t, func() error { _, err := c.get(t.Context(), "a", dir, true); return err }())
}

func TestLostAnswer(t *testing.T) {
	s := serveDir(t, 1<<30)
	c := s.connect(t)
	b := random(blockSize + 1)
	write(t, s.path("a"), b)
	req := uploadRequest{Name: "a", Size: int64(len(b)), Hash: hashOf(b)}
	require.True(t, answer(t, open(t, c, uploadOp, req)).Complete)
	req.Hash = hashOf(b[1:])
	_, err := open(t, c, uploadOp, req).Recv()
	requireCode(t, gotalk.CodeAlreadyExists, err)
}

func TestOneUploadOfANameAtATime(t *testing.T) {
	s := serveDir(t, 1<<30)
	ann, bob := s.connect(t), s.connect(t)
	b := random(3 * blockSize)
	st := open(t, ann, uploadOp, uploadRequest{Name: "a", Size: int64(len(b)), From: "ann"})
	answer(t, st)
	for _, c := range []*client{bob, ann} {
		_, err := open(t, c, uploadOp, uploadRequest{Name: "a", Size: 5, From: c.from}).Recv()
		requireCode(t, gotalk.CodeAborted, err)
	}
	_, err := open(t, ann, uploadOp, uploadRequest{Name: "a", Size: 5, From: "ann"}).Recv()
	requireCode(t, gotalk.CodeAborted, err) // her own upload is under way on a connection that is fine
	require.NoError(t, sendJSON(st, place{}))
	_, err = st.Write(b[:2*blockSize])
	require.NoError(t, err)

	// Ann comes back on another connection, before the server has noticed that she has lost the first one.
	again := s.connect(t)
	st2 := open(t, again, uploadOp, uploadRequest{Name: "a", Size: int64(len(b)), From: "ann"})
	have := answer(t, st2)
	require.Positive(t, have.Offset)
	require.Equal(t, hashOf(b[:have.Offset]), have.Hash)
	_, err = st.Recv()
	require.Error(t, err)
	require.NoError(t, sendJSON(st2, place{Offset: have.Offset}))
	_, err = st2.Write(b[have.Offset:])
	require.NoError(t, err)
	require.NoError(t, sendJSON(st2, place{Hash: hashOf(b)}))
	require.Equal(t, hashOf(b), answer(t, st2).Hash)
	require.Equal(t, b, read(t, s.path("a")))

	// Many at once, of many names.
	errs := make(chan error)
	for i := range 12 {
		path := write(t, filepath.Join(t.TempDir(), fmt.Sprint("many", i)), random(blockSize+i))
		c := s.connect(t)
		go func() { _, err := c.put(t.Context(), path, false); errs <- err }()
	}
	for range 12 {
		require.NoError(t, <-errs)
	}
}

func TestOthersAreToldOfNewFiles(t *testing.T) {
	s := serveDir(t, 1<<30)
	told := make(chan struct{}, 10)
	sock := gotalk.NewSock(&gotalk.Handlers{})
	changed.Handle(sock.Handlers, func(context.Context, *gotalk.Sock, struct{}) { told <- struct{}{} })
	require.NoError(t, sock.ConnectWebSocket(t.Context(), webSocketURL(s.url), nil, nil))
	defer sock.Close()
	_, err := listFiles.Call(t.Context(), sock, struct{}{})
	require.NoError(t, err)
	_, err = s.connect(t).put(t.Context(), write(t, filepath.Join(t.TempDir(), "a"), nil), false)
	require.NoError(t, err)
	<-told
}
