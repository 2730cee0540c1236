package examples_test

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// programs are the folders of programs that end by themselves.
var programs = []string{"echo", "tcp", "unix", "tls", "mutual-tls", "pipe", "limits", "read-timeout", "stream", "workers", "files"}

// commands are the arguments of those that would not end without.
var commands = map[string][]string{"files": {"demo"}}

// build compiles the example in that folder, under the race detector if the test is.
func build(t *testing.T, folder string) string {
	args := []string{"build", "-o", filepath.Join(t.TempDir(), "example.exe")}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "./"+folder)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return args[2]
}

// promised returns what the folder's README says that the program prints.
func promised(t *testing.T, folder string) string {
	b, err := os.ReadFile(filepath.Join(folder, "README.md"))
	require.NoError(t, err)
	parts := strings.Split(string(b), "```\n")
	require.Len(t, parts, 3, "README.md of %s has one block with the output", folder)
	return parts[1]
}

var (
	anyAddr = regexp.MustCompile(`(127\.0\.0\.1|\[::1\]):\d+`)
	anyPath = regexp.MustCompile(`\S+\.sock`)
)

// plain is output with what differs from run to run replaced.
func plain(output string) string {
	return anyPath.ReplaceAllString(anyAddr.ReplaceAllString(output, "ADDR"), "PATH")
}

// run runs a program in a folder that has nothing to do with it, and returns what it prints.
func run(t *testing.T, program string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = t.TempDir()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestProgramsPrintWhatTheirReadmeSays(t *testing.T) {
	for _, folder := range programs {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := run(t, build(t, folder), commands[folder]...)
			require.NoError(t, err, stderr)
			require.Equal(t, plain(promised(t, folder)), plain(stdout))
		})
	}
}

func TestProgramsListenWhereTold(t *testing.T) {
	program := build(t, "echo")
	stdout, stderr, err := run(t, program, "-addr", "127.0.0.1:0")
	require.NoError(t, err, stderr)
	require.Contains(t, stdout, "listening at 127.0.0.1:")

	_, stderr, err = run(t, program, "-addr", "no such place")
	require.Error(t, err)
	require.Contains(t, stderr, "cannot listen on tcp no such place")

	socket := filepath.Join(t.TempDir(), "own.sock")
	stdout, stderr, err = run(t, build(t, "unix"), "-addr", socket)
	require.NoError(t, err, stderr)
	require.Contains(t, stdout, "listening at "+socket)
	require.NoFileExists(t, socket)
}

// server is a running server program.
type server struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	said  strings.Builder
	addr  string
}

func start(t *testing.T, program string, args ...string) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{cmd: exec.CommandContext(ctx, program, args...)}
	s.cmd.Dir = t.TempDir()
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.lines = bufio.NewReader(out)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { cancel(); s.cmd.Wait() })
	s.addr = strings.TrimPrefix(s.until(t, "listening at "), "listening at ")
	s.until(t, "ctrl-c")
	return s
}

// until reads what the server prints up to a line that begins with prefix.
func (s *server) until(t *testing.T, prefix string) string {
	for {
		line, err := s.lines.ReadString('\n')
		s.said.WriteString(line)
		require.NoError(t, err, s.said.String())
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSuffix(line, "\n")
		}
	}
}

// stop sends the signal and waits for the end.
func (s *server) stop(t *testing.T, sig os.Signal) {
	require.NoError(t, s.cmd.Process.Signal(sig))
	rest, err := io.ReadAll(s.lines)
	require.NoError(t, err)
	s.said.Write(rest)
	require.NoError(t, s.cmd.Wait(), s.said.String())
}

func TestEchoServerAndClient(t *testing.T) {
	serverProgram, client := build(t, "echo/server"), build(t, "echo/client")
	s := start(t, serverProgram, "-addr", "127.0.0.1:0")

	stdout, stderr, err := run(t, client, "-addr", s.addr)
	require.NoError(t, err, stderr)
	require.Equal(t, plain(promised(t, "echo/client")), plain(stdout))
	s.until(t, "client gone")
	s.stop(t, os.Interrupt)
	require.Equal(t, plain(promised(t, "echo/server")), plain(s.said.String()))

	stdout, stderr, err = run(t, client, "-addr", s.addr)
	require.Error(t, err)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "start it with: go run ./examples/echo/server")
}

func TestEchoServerRefusesNamelessClient(t *testing.T) {
	s := start(t, build(t, "echo/server"), "-addr", "127.0.0.1:0")
	stdout, stderr, err := run(t, build(t, "echo/client"), "-addr", s.addr, "-name", "")
	require.NoError(t, err, stderr)
	require.Contains(t, stdout, "greet refuses: tell me your name first")
	s.stop(t, syscall.SIGTERM)
}

func TestEchoServersWithoutAddrCoexist(t *testing.T) {
	program := build(t, "echo/server")
	first, second := start(t, program), start(t, program)
	require.NotEqual(t, first.addr, second.addr)
	first.stop(t, os.Interrupt)
	second.stop(t, os.Interrupt)
}

// The peer for conformance passes, over both transports, and with nothing left out that it lacks.
func TestConformPasses(t *testing.T) {
	tool := build(t, "../cmd/gotalk")
	s := start(t, build(t, "conform"), "-addr", "127.0.0.1:0", "-web", "127.0.0.1:0")
	web := regexp.MustCompile(`ws://\S+`).FindString(s.said.String())
	for _, addr := range []string{s.addr, web} {
		stdout, stderr, err := run(t, tool, "conform", "-strict", "-quiet", "10ms", "-timeout", "30s",
			"-run", "^(version|request|error-result|slow-request|call|stream|notification|hello|cancel|websocket-messages)$", addr)
		require.NoError(t, err, "%s%s", stdout, stderr)
		require.Contains(t, stdout, " 0 failed")
	}
	s.stop(t, os.Interrupt)
	require.Equal(t, plain(promised(t, "conform")), plain(s.said.String()))
}

func TestIndexNamesEveryProgram(t *testing.T) {
	index, err := os.ReadFile("README.md")
	require.NoError(t, err)
	found := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "main.go" {
			found++
			require.Contains(t, string(index), "`go run ./examples/"+filepath.ToSlash(filepath.Dir(path))+"`")
		}
		return err
	}))
	require.GreaterOrEqual(t, found, len(programs))
}
