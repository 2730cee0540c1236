package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// gotalkCommand runs the command in this process.
func gotalkCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

// servePeer serves echo alone.
func servePeer(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("my/echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	s := gotalk.NewServer(h, nil, l)
	go s.Accept() // ends with Close
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func TestHelp(t *testing.T) {
	code, stdout, stderr := gotalkCommand(t, "help")
	require.Equal(t, exitOK, code)
	require.Contains(t, stdout, "conform [flags] ADDR")
	require.Empty(t, stderr)
	for _, args := range [][]string{{"help", "conform"}, {"conform", "-h"}} {
		code, stdout, stderr = gotalkCommand(t, args...)
		require.Equal(t, exitOK, code)
		require.Contains(t, stdout, "Usage: gotalk conform [flags] ADDR")
		require.Contains(t, stdout, "-known")
		require.Contains(t, stdout, "returns its payload")
		require.Empty(t, stderr)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"", "Usage: gotalk COMMAND"},
		{"conforms", `no command "conforms"`},
		{"help conforms", `no command "conforms"`},
		{"conform", "takes 1 argument"},
		{"conform a:1 b:2", "takes 1 argument"},
		{"conform -nope a:1", "not defined: -nope"},
		{"conform -op echo a:1", "want KEY=NAME"},
		{"conform -op echoes=e a:1", `no check uses an operation "echoes"`},
		{"conform -known gotalk-0.1 a:1", "gotalk-1.3.7"},
		{"conform -run ( a:1", "missing closing )"},
		{"conform localhost", "none of HOST:PORT"},
		{"conform http://localhost", "none of HOST:PORT"},
		{"conform unix:/nowhere/at/all", "no such file"},
	} {
		code, stdout, stderr := gotalkCommand(t, strings.Fields(c.args)...)
		require.Equal(t, exitUsage, code, c.args)
		require.Contains(t, stderr, c.says, c.args)
		require.Empty(t, stdout, c.args)
	}
	code, _, stderr := gotalkCommand(t, "conform", "-run", "no such check", servePeer(t))
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "no check is named like")
}

func TestConformCommand(t *testing.T) {
	addr := servePeer(t)
	code, stdout, stderr := gotalkCommand(t, "conform", "-run", "^request|^call$", "-op", "echo=my/echo", addr)
	require.Equal(t, exitOK, code, stdout)
	require.Empty(t, stderr)
	require.Contains(t, stdout, "✓ request ")
	require.Contains(t, stdout, "– call                         skipped: needs operation call")
	require.Contains(t, stdout, "0 failed")

	code, stdout, _ = gotalkCommand(t, "conform", "-run", "^request$", "-v", "-op", "echo=my/echo", addr)
	require.Equal(t, exitOK, code, stdout)
	require.Contains(t, stdout, `> r0001007my/echo00000007"hello"`)

	code, stdout, _ = gotalkCommand(t, "conform", "-run", "^request$", "-strict", addr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stdout, "✗ request ")
	require.Contains(t, stdout, "needs operation echo")

	code, stdout, _ = gotalkCommand(t, "conform", "-run", "^request$", "-json", "-op", "echo=my/echo", addr)
	require.Equal(t, exitOK, code)
	var report conform.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.Equal(t, conform.Passed, report.Results[0].Outcome)
	require.Equal(t, "request", report.Results[0].Name)
}

// PROTOCOL.md describes the operations as the command does.
func TestProtocolDocNamesOperations(t *testing.T) {
	doc, err := os.ReadFile("../../PROTOCOL.md")
	require.NoError(t, err)
	for _, o := range conform.Operations {
		if o.Kind != "" {
			require.Contains(t, string(doc), "| `"+o.Name+"` | "+o.Kind+" | ")
		}
	}
}
