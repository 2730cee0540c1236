package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gotalk-go/gotalk"
)

const (
	firstPatience = 2 * time.Second // without a connection at first
	patience      = 2 * time.Minute // after one was lost
)

// client transfers files, one at a time, over a connection that is made anew when it is lost. Its methods are for one
// goroutine.
type client struct {
	*gotalk.Client
	from string // see uploadRequest

	say      func(format string, args ...any)    // tells of what did not go smoothly
	progress func(name string, done, size int64) // of a transfer; the first time it tells where that begins

	stream *gotalk.Stream // of the transfer
}

// connect returns a client of the server at that URL when there is a connection.
func connect(ctx context.Context, url string) (*client, error) {
	c := &client{Client: gotalk.NewClient(webSocketURL(url)), from: rand.Text()}
	c.say, c.progress = func(string, ...any) {}, func(string, int64, int64) {}
	c.Handlers = &gotalk.Handlers{}
	changed.Handle(c.Handlers, func(context.Context, *gotalk.Sock, struct{}) {}) // nobody looks at a list here
	c.Idempotent = func(op string) bool { return op == listFiles.Name }
	if err := c.Start(); err != nil {
		return nil, err
	}
	if err := c.ready(ctx, firstPatience); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// webSocketURL makes what people copy from their browser the address of the WebSocket.
func webSocketURL(text string) string {
	if !strings.Contains(text, "://") {
		text = "ws://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return text // connecting says what is wrong
	}
	u.Scheme = cmp.Or(map[string]string{"http": "ws", "https": "wss"}[u.Scheme], u.Scheme)
	if u.Path == "" || u.Path == "/" {
		u.Path = "/gotalk/"
	}
	return u.String()
}

// ready waits for a connection.
func (c *client) ready(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return c.WaitReady(ctx)
}

// retry calls try with a stream until it succeeds, or fails for a reason that another connection does not help against.
func (c *client) retry(ctx context.Context, op string, try func(*gotalk.Stream) error) error {
	for {
		st, err := c.OpenStream(ctx, op)
		lost := false
		if err == nil {
			c.stream = st
			err = try(st)
			lost = st.Sock().IsClosed()
			st.Close()
		}
		if err == nil || !lost && gotalk.CodeOf(err) != gotalk.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		c.say("the connection is lost, and is tried again: %v", err)
		if !lost { // the server has other things to do; it shall not hear from all that it refused at the same time
			select {
			case <-time.After(mathrand.N(500 * time.Millisecond)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := c.ready(ctx, patience); err != nil {
			return err
		}
	}
}

// list returns the server's files.
func (c *client) list(ctx context.Context) ([]fileInfo, error) {
	return listFiles.Call(ctx, c.Sock, struct{}{})
}

// put uploads a file under its own name, and returns its hash.
func (c *client) put(ctx context.Context, path string, overwrite bool) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", refuse(gotalk.CodeInvalidArgument, "%s is no file", path)
	}
	req := uploadRequest{Name: filepath.Base(path), Size: info.Size(), From: c.from, Overwrite: overwrite}
	h := &treeHash{}
	err = c.retry(ctx, uploadOp, func(st *gotalk.Stream) error { return c.upload(ctx, st, f, &req, h) })
	return h.sum(), err
}

// upload tries to upload what the server does not have of a file. h is the hash of what was read in earlier tries.
func (c *client) upload(ctx context.Context, st *gotalk.Stream, f io.ReaderAt, req *uploadRequest, h *treeHash) error {
	if err := sendJSON(st, req); err != nil {
		return sendError(st, err)
	}
	var have, end place
	if err := recvJSON(st, &have); err != nil {
		return err
	}
	if have.Complete {
		return nil
	}
	if have.Offset < 0 || have.Offset > req.Size || have.Offset%blockSize != 0 {
		return refuse(gotalk.CodeInternal, "the server has %d of %d bytes", have.Offset, req.Size)
	}
	if err := h.extend(ctx, f, have.Offset); err != nil {
		return err
	}
	if h.sum() != have.Hash {
		c.say("the server has the beginning of another file %q, and gets all of this one", req.Name)
		have.Offset = 0
		h.truncate(0)
	}
	if have.Offset > 0 {
		c.say("go on with %q at %s", req.Name, formatSize(have.Offset))
	}
	c.progress(req.Name, have.Offset, req.Size)
	if err := sendJSON(st, place{Offset: have.Offset}); err != nil {
		return sendError(st, err)
	}
	err := sendBytes(ctx, st, f, have.Offset, req.Size, h, func(done int64) { c.progress(req.Name, done, req.Size) })
	if err != nil {
		return err
	}
	req.Hash = h.sum()
	if err := sendJSON(st, place{Offset: req.Size, Hash: req.Hash}); err != nil {
		return sendError(st, err)
	}
	if err := recvJSON(st, &end); err != nil {
		return err
	}
	if end.Hash != req.Hash {
		return refuse(gotalk.CodeDataLoss, "the server's hash of %q is another one; upload it again", req.Name)
	}
	return nil
}

// get downloads a file into dir, and returns its hash. What came of it before is in a file of that name with ".part" behind.
func (c *client) get(ctx context.Context, name, dir string, overwrite bool) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err == nil && !overwrite {
		return "", refuse(gotalk.CodeAlreadyExists, "there is %s already; -f replaces it", path)
	}
	f, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return "", err
	}
	defer f.Close() // once more does nothing
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := &treeHash{}
	if err := h.extend(ctx, f, blocks(info.Size())); err != nil {
		return "", err
	}
	err = c.retry(ctx, downloadOp, func(st *gotalk.Stream) error { return c.download(st, f, name, h) })
	if gotalk.CodeOf(err) == gotalk.CodeDataLoss || err != nil && h.size() == 0 {
		f.Close()
		os.Remove(f.Name())
	}
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "replace", Path: path, Err: errors.New("it is no file")}
	}
	return h.sum(), os.Rename(f.Name(), path)
}

// file is what a download is written to.
type file interface {
	io.WriterAt
	Truncate(size int64) error
}

// download tries to download what is not there of a file. h is the hash of what is.
func (c *client) download(st *gotalk.Stream, f file, name string, h *treeHash) error {
	h.truncate(blocks(h.size()))
	req := downloadRequest{Name: name, Offset: h.size()}
	if req.Offset > 0 {
		req.Hash = h.sum()
	}
	if err := sendJSON(st, req); err != nil {
		return sendError(st, err)
	}
	var begin, end place
	if err := recvJSON(st, &begin); err != nil {
		return err
	}
	switch {
	case begin.Offset == 0 && req.Offset > 0:
		c.say("%q is another file by now, and comes from its beginning", name)
		h.truncate(0)
	case begin.Offset != req.Offset || begin.Size < begin.Offset:
		return refuse(gotalk.CodeInternal, "the server sends %q from %d, not from %d", name, begin.Offset, req.Offset)
	case req.Offset > 0:
		c.say("go on with %q at %s", name, formatSize(req.Offset))
	}
	if err := f.Truncate(begin.Offset); err != nil {
		return err
	}
	c.progress(name, begin.Offset, begin.Size)
	err := recvBytes(st, f, begin.Offset, begin.Size, h, func(done int64) { c.progress(name, done, begin.Size) })
	if err != nil {
		return err
	}
	if err := recvJSON(st, &end); err != nil {
		return err
	}
	if end.Hash != h.sum() {
		return refuse(gotalk.CodeDataLoss, "what came of %q is not what was sent: the hash differs; download it again", name)
	}
	return nil
}
