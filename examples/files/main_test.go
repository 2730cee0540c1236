package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// startServer runs the command that serves, and returns the address.
func startServer(t *testing.T, ctx context.Context, addr, dir string) (string, chan error) {
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-addr", addr, "-dir", dir}, w, os.Stderr) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	go io.Copy(io.Discard, r) // ends with the test process
	var host string
	_, err = fmt.Sscanf(line, "Open http://%s in a browser", &host)
	require.NoError(t, err, line)
	return host, ended
}

func TestTransfersOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	addr, ended := startServer(t, ctx, "localhost:0", dir)
	c, err := connect(t.Context(), addr)
	require.NoError(t, err)
	defer c.Close()
	restartAt, resumed := int64(9<<20), []int64{}
	var try *gotalk.Stream
	var ctx2 context.Context
	c.progress = func(_ string, done, _ int64) {
		if try != c.stream {
			resumed = append(resumed, done)
			try = c.stream
		}
		if restartAt > 0 && done > restartAt {
			restartAt = 0
			stop()
			require.NoError(t, <-ended)
			ctx2, stop = context.WithCancel(t.Context())
			_, ended = startServer(t, ctx2, addr, dir)
		}
	}
	b := random(16 << 20)
	_, err = c.put(t.Context(), write(t, filepath.Join(t.TempDir(), "a.bin"), b), false)
	require.NoError(t, err)
	require.Equal(t, b, read(t, filepath.Join(dir, "a.bin")))
	require.Len(t, resumed, 2)
	require.GreaterOrEqual(t, resumed[1], int64(8<<20))

	restartAt, resumed = int64(5<<20), nil
	here := t.TempDir()
	_, err = c.get(t.Context(), "a.bin", here, false)
	require.NoError(t, err)
	require.Equal(t, b, read(t, filepath.Join(here, "a.bin")))
	require.Len(t, resumed, 2)
	require.GreaterOrEqual(t, resumed[1], int64(5<<20))
	stop()
	require.NoError(t, <-ended)
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	addr, _ := startServer(t, ctx, "localhost:0", dir)
	errs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer errs.Close()
	command := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(t.Context(), args, &out, errs)
		return out.String(), err
	}
	a, b := write(t, filepath.Join(t.TempDir(), "a.txt"), []byte("a")), write(t, filepath.Join(t.TempDir(), "b.txt"), []byte("b"))
	out, err := command("put", "-url", addr, a, b)
	require.NoError(t, err)
	require.Equal(t, hashOf([]byte("a"))+"  "+a+"\n"+hashOf([]byte("b"))+"  "+b+"\n", out)
	_, err = command("put", "-url", "http://"+addr, a)
	require.ErrorContains(t, err, "there is a file \"a.txt\" already")
	_, err = command("put", "-url", "http://"+addr+"/", "-f", a)
	require.NoError(t, err)
	out, err = command("ls", "-url", "ws://"+addr+"/gotalk/")
	require.NoError(t, err)
	require.Regexp(t, `^ +1 B  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  a.txt\n +1 B  .*  b.txt\n$`, out)
	here := t.TempDir()
	out, err = command("get", "-url", addr, "-dir", here, "a.txt")
	require.NoError(t, err)
	require.Equal(t, hashOf([]byte("a"))+"  a.txt\n", out)
	require.Equal(t, "a", string(read(t, filepath.Join(here, "a.txt"))))

	for want, args := range map[string][]string{
		"there is no command":          {"fetch"},
		"which file?":                  {"put"},
		"no such file":                 {"put", "-url", addr, "nosuch"},
		"is no file":                   {"put", "-url", addr, here},
		"no file \"nosuch\"":           {"get", "-url", addr, "-dir", here, "nosuch"},
		"makes no sense":               {"ls", "-url", "gopher://" + addr},
		"no number of bytes":           {"-max", "many"},
		"-addr chooses another addres": {"-addr", addr, "-dir", here},
		"flag provided but not":        {"ls", "-f"},
		"is no WebSocket for us":       {"ls", "-url", addr + "/files"},
	} {
		_, err := command(args...)
		require.ErrorContains(t, err, want, "%v", args)
	}
}

func TestServedOverHTTP(t *testing.T) {
	s := serveDir(t, 1)
	write(t, s.path("secret.txt"), []byte("x"))
	srv := httptest.NewServer(newHandler(s.webSocketServer()))
	defer srv.Close()
	for path, want := range map[string]string{
		"/": "<!doctype html>", "/files.js": "gotalk.handleNotification", "/transfer.js": "gotalk.connection()", "/hash.js": "SHA-256",
		"/files.css": "--accent", "/icon.svg": "<svg", "/gotalk/gotalk.js": "gotalk",
	} {
		res, err := srv.Client().Get(srv.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode, path)
		require.Contains(t, string(body), want, path)
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'self'")
	}
	res, err := srv.Client().Get(srv.URL + "/secret.txt")
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, 404, res.StatusCode, "files go over streams only")
}

func TestOldPartialsAreRemoved(t *testing.T) {
	s := serveDir(t, 1)
	old, young := write(t, s.path(partial("old")), nil), write(t, s.path(partial("young")), nil)
	long := time.Now().Add(-partialsLast - time.Hour)
	require.NoError(t, os.Chtimes(old, long, long))
	again, err := openStore(s.dir)
	require.NoError(t, err)
	defer again.close()
	require.NoFileExists(t, old)
	require.FileExists(t, young)

	_, err = openStore(young)
	require.Error(t, err, "no directory")
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "10k": 10 << 10, "500M": 500 << 20, "10G": 10 << 30, "2GiB": 2 << 30, "1TB": 1 << 40} {
		n, err := parseSize(text)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "0", "-1", "G", "1X", "1e9", "9999999999G", "99999999999999999999"} {
		_, err := parseSize(text)
		require.Error(t, err, text)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 1536 << 20: "1.5 GiB", 5000 << 40: "5000.0 TiB"} {
		require.Equal(t, want, formatSize(n))
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	lines := &meter{w: &out, now: func() time.Time { return now }}
	show := func(m *meter, name string, after time.Duration, done, size int64) string {
		now = now.Add(after)
		out.Reset()
		m.show(name, done, size)
		return out.String()
	}
	require.Empty(t, show(lines, "a.bin", 0, 1<<20, 100<<20))
	require.Empty(t, show(lines, "a.bin", 4*time.Second, 10<<20, 100<<20), "every few seconds")
	require.Equal(t, "a.bin                     21 %  21.0 MiB of 100.0 MiB  4.0 MiB/s  20s\n", show(lines, "a.bin", time.Second, 21<<20, 100<<20))
	require.Empty(t, show(lines, "b.bin", time.Second, 0, 100), "another file begins")
	require.Empty(t, show(lines, "b.bin", time.Second, 100, 100), "and has ended before there was anything to tell")

	terminal := &meter{w: &out, now: lines.now, terminal: true}
	long := strings.Repeat("very_long_", 10) + "name.bin"
	require.Empty(t, show(terminal, long, 0, 0, 1<<40))
	line := show(terminal, long, 100*time.Millisecond, 1000<<20, 1<<40)
	require.True(t, strings.HasPrefix(line, "\rvery_long_v…ong_name.bin   0 %"), line)
	require.NotContains(t, line, "\n")
	require.LessOrEqual(t, len([]rune(line)), 80)
	require.Empty(t, show(terminal, long, 50*time.Millisecond, 1100<<20, 1<<40), "too soon to read")
	require.Contains(t, show(terminal, long, time.Second, 1<<40, 1<<40), "100 %")
	out.Reset()
	terminal.clear()
	require.Regexp(t, `^\r +\r$`, out.String())
}
