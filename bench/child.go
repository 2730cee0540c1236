package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// child is a server's process, as its client sees it.
type child struct {
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startServer starts this program again to serve a peer. It is killed when ctx ends; besides it ends when this process
// does, as its standard input then does.
func startServer(ctx context.Context, peer string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, "serve", peer)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err = c.cmd.Start(); err != nil {
		return nil, err
	}
	if c.addr, err = c.line(); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func (c *child) line() (string, error) {
	s, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the server is gone: %w", err)
	}
	return strings.TrimSpace(s), nil
}

// ask asks the server something that Server.control knows.
func (c *child) ask(question string) (string, error) {
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return "", err
	}
	return c.line()
}

// number is ask for what is answered with a number.
func (c *child) number(question string) (int64, error) {
	s, err := c.ask(question)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// usage is what the server and this process have used.
func (c *child) usage() (usage, error) {
	s, err := c.ask("usage")
	if err != nil {
		return usage{}, err
	}
	server, err := parseUsage(s)
	own := usageNow()
	return usage{server.Mallocs + own.Mallocs, server.CPU + own.CPU}, err
}
