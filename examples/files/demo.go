package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gotalk-go/gotalk"
)

const (
	demoSize = 32<<20 + 12345

	// Where connections break: behind a place where transfers resume, so that what the windows of streams may hold at that
	// moment, at most 768 KiB, makes no difference. The sender has counted it already, the receiver not yet.
	cutUpload   = 16<<20 + 900<<10
	cutDownload = 16<<20 + 50<<10
)

// demo shows in one process what happens to transfers whose connection breaks.
func demo(ctx context.Context, addr string, out io.Writer, m *meter) error {
	dir, err := os.MkdirTemp("", "gotalk-files-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := openStore(filepath.Join(dir, "server"))
	if err != nil {
		return err
	}
	defer files.close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ws := newServer(files, 1<<30).webSocketServer()
	srv := &http.Server{Handler: newHandler(ws), ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l) // ends at Close
	defer srv.Close()
	defer ws.Shutdown(ctx)
	fmt.Fprintln(out, "listening at", l.Addr())

	path := filepath.Join(dir, "big.bin")
	if err := generate(path, demoSize); err != nil {
		return err
	}
	c, err := connect(ctx, l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.say = func(format string, args ...any) {
		m.clear()
		fmt.Fprintf(out, "  "+format+"\n", args...)
	}
	cut := int64(0) // where the connection breaks next
	c.progress = func(name string, done, size int64) {
		m.show(name, done, size)
		if cut > 0 && done >= cut {
			cut = 0
			c.stream.Sock().Close()
		}
	}

	fmt.Fprintf(out, "put big.bin, %s; the connection breaks in the middle\n", formatSize(demoSize))
	cut = cutUpload
	sent, err := c.put(ctx, path, false)
	if err != nil {
		return err
	}
	m.clear()
	fmt.Fprintln(out, "  complete:", sent)

	fmt.Fprintln(out, "get big.bin; the connection breaks in the middle")
	cut = cutDownload
	here := filepath.Join(dir, "client")
	if err := os.Mkdir(here, 0o777); err != nil {
		return err
	}
	got, err := c.get(ctx, "big.bin", here, false)
	if err != nil {
		return err
	}
	m.clear()
	fmt.Fprintln(out, "  complete:", got)
	if got != sent {
		return errors.New("that is not what was sent")
	}

	// What the server does not do.
	_, err = c.put(ctx, path, false)
	fmt.Fprintln(out, "put big.bin once more\n ", outcome(err))
	_, err = c.get(ctx, "small.bin", here, false)
	fmt.Fprintln(out, "get small.bin\n ", outcome(err))
	err = c.retry(ctx, uploadOp, func(st *gotalk.Stream) error {
		return c.upload(ctx, st, nil, &uploadRequest{Name: "../escaped", Size: 1}, &treeHash{})
	})
	fmt.Fprintln(out, "put ../escaped\n ", outcome(err))
	_, err = c.put(ctx, path, true)
	fmt.Fprintln(out, "put -f big.bin\n ", outcome(err))
	list, err := c.list(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ls")
	for _, f := range list {
		fmt.Fprintf(out, "  %s, %d bytes\n", f.Name, f.Size)
	}
	return nil
}

func outcome(err error) string {
	if err != nil {
		return fmt.Sprintf("%s: %v", gotalk.CodeOf(err), err)
	}
	return "complete"
}

// generate writes a file of that size whose bytes look random but are always the same.
func generate(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	return errors.Join(err, f.Close())
}
