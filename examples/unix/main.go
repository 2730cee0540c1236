// Unix talks over a Unix socket, with payloads that are plain bytes instead of JSON.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "", "path of the socket (a new one in a temporary directory)")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

func run(addr string) error {
	if addr == "" {
		dir, err := os.MkdirTemp("", "gotalk")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		addr = filepath.Join(dir, "echo.sock")
	}

	h := &gotalk.Handlers{}
	h.HandleBufferRequest("upper", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		return bytes.ToUpper(payload), nil
	})
	// The empty name is the fallback: it gets every operation that nothing else is registered for.
	h.HandleBufferRequest("", func(_ *gotalk.Sock, op string, payload []byte) ([]byte, error) {
		return fmt.Appendf(nil, "what is %s of %d bytes?", op, len(payload)), nil
	})
	server, err := gotalk.Listen("unix", addr)
	if err != nil {
		return err
	}
	server.Handlers = h
	go server.Accept() // ends in Shutdown
	fmt.Println("server: listening at", server.Addr())

	s, err := gotalk.Connect("unix", addr)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, op := range []string{"upper", "lower"} {
		result, err := s.BufferRequest(op, []byte("hello, socket"))
		if err != nil {
			return err
		}
		fmt.Printf("client: %s answers %q\n", op, result)
	}

	if err := server.Shutdown(context.Background()); err != nil {
		return err
	}
	if _, err := os.Stat(addr); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("server: closed, and the socket's file is gone")
	}
	return nil
}
