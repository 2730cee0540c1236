// Files uploads and downloads large files, in the terminal and in browsers: resumable, and checked by hash.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gotalk-go/gotalk"
)

//go:embed page
var embedded embed.FS

const usage = `usage:
  files [-dir DIR] [-addr ADDR] [-max SIZE]       serve a directory
  files put [-url URL] [-f] FILE…                 upload
  files get [-url URL] [-f] [-dir DIR] NAME…      download
  files ls [-url URL]                             list what the server has
  files demo [-addr ADDR]                         show what happens when connections break
`

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // a second ctrl-c ends the program at once
	gotalk.HandlerErrorLogger = logOwnMistakes
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil && ctx.Err() != nil: // the same command goes on where this one was stopped
		fmt.Fprintln(os.Stderr, "files: stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(1)
	}
}

// run runs the command that args name.
func run(ctx context.Context, args []string, out io.Writer, errs *os.File) error {
	command := ""
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("files "+command, flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() { fmt.Fprint(errs, usage); flags.PrintDefaults() }
	var addr, dir, url string
	var force bool
	size := int64(10 << 30)
	switch command {
	case "":
		flags.StringVar(&addr, "addr", "localhost:1234", "where to listen; port 0 takes one that is free")
		flags.StringVar(&dir, "dir", "", "what to serve (default a new temporary directory)")
		flags.Func("max", "the largest `size` of an uploaded file, such as 500M (default 10G)", func(text string) (err error) {
			size, err = parseSize(text)
			return err
		})
	case "demo":
		flags.StringVar(&addr, "addr", "localhost:0", "where to listen; port 0 takes one that is free")
	case "get", "put", "ls":
		flags.StringVar(&url, "url", "ws://localhost:1234/gotalk/", "of the server")
		if command != "ls" {
			flags.BoolVar(&force, "f", false, "replace what is there")
		}
		if command == "get" {
			flags.StringVar(&dir, "dir", ".", "where to put the files")
		}
	default:
		return fmt.Errorf("there is no command %q\n%s", command, usage)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	m := newMeter(errs)
	switch command {
	case "":
		return serve(ctx, addr, dir, size, out)
	case "demo":
		return demo(ctx, addr, out, m)
	}
	if command != "ls" && flags.NArg() == 0 {
		return fmt.Errorf("which file?\n%s", usage)
	}
	c, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	defer m.clear()
	c.progress = m.show
	c.say = func(format string, args ...any) {
		m.clear()
		fmt.Fprintf(errs, format+"\n", args...)
	}
	if command == "ls" {
		return ls(ctx, c, out)
	}
	for _, name := range flags.Args() {
		hash, err := "", error(nil)
		if command == "put" {
			hash, err = c.put(ctx, name, force)
		} else {
			hash, err = c.get(ctx, name, dir, force)
		}
		m.clear()
		if err != nil {
			return fmt.Errorf("%s %s: %w", command, name, err)
		}
		fmt.Fprintf(out, "%s  %s\n", hash, name)
	}
	return nil
}

func ls(ctx context.Context, c *client, out io.Writer) error {
	files, err := c.list(ctx)
	for _, f := range files {
		fmt.Fprintf(out, "%10s  %s  %s\n", formatSize(f.Size), f.Modified.Local().Format(time.DateTime), f.Name)
	}
	return err
}

// serve serves the files of a directory until ctx ends.
func serve(ctx context.Context, addr, dir string, size int64, out io.Writer) error {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "gotalk-files-"); err != nil {
			return err
		}
		fmt.Fprintln(out, "Without -dir, files are kept in", dir)
	}
	files, err := openStore(dir)
	if err != nil {
		return err
	}
	defer files.close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (-addr chooses another address)", err)
	}
	ws := newServer(files, size).webSocketServer()
	srv := &http.Server{Handler: newHandler(ws), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }() // ends at Close below
	fmt.Fprintf(out, "Open http://%s in a browser; ctrl-c stops the server\n", urlHost(addr, l.Addr()))
	select {
	case err = <-failed:
	case <-ctx.Done():
		fmt.Fprintln(out, "Stopping")
	}
	// Short transfers may end. Long ones are cut, and go on with the next server.
	patience, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ws.Shutdown(patience)
	srv.Close()
	return err
}

// urlHost is the host that the flag names, with the port that is really listened at.
func urlHost(addr string, listening net.Addr) string {
	host, _, _ := net.SplitHostPort(addr)
	_, port, _ := net.SplitHostPort(listening.String())
	return net.JoinHostPort(cmp.Or(host, "localhost"), port)
}

func newHandler(ws http.Handler) http.Handler {
	page, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // the compiler has embedded it
	}
	mux := http.NewServeMux()
	mux.Handle("/gotalk/", ws)
	mux.Handle("/", http.FileServerFS(page))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache") // a new version is there at the next reload
		mux.ServeHTTP(w, r)
	})
}

// logOwnMistakes keeps what peers are told about their own input, and lost connections, out of the log.
func logOwnMistakes(s *gotalk.Sock, format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			if code := gotalk.CodeOf(err); code != gotalk.CodeUnknown && code != gotalk.CodeInternal {
				return
			}
		}
	}
	gotalk.DefaultLoggerFunc(s, format, args...)
}
