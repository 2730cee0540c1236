package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// overhead is about what a measurement takes besides its time.
const overhead = 200 * time.Millisecond

// takes is about how long it takes to measure a peer at w.
func (w *Work) takes(t Times) time.Duration {
	d := overhead + t.Warm + t.Run*time.Duration(max(w.Factor, 1))
	if w.Kind == Idle || w.Kind == Broadcast {
		d += time.Duration(w.Conns) * 300 * time.Microsecond
	}
	return d
}

// run measures all peers at all works, round by round, so that what changes on the machine meanwhile concerns all. When ctx
// ends it stops; what was measured until then is kept.
func (r *Report) run(ctx context.Context, show *progress) error {
	t := r.Times
	defer show.end()
	for round := range r.Rounds {
		for _, w := range r.Works {
			if w.Rounds == 0 || round < w.Rounds {
				show.left += w.takes(t) * time.Duration(len(r.peersOf(w)))
			}
		}
	}
	for round := range r.Rounds {
		for _, w := range r.Works {
			if w.Rounds > 0 && round >= w.Rounds {
				continue
			}
			for _, p := range r.peersOf(w) {
				show.begin(fmt.Sprintf("round %d of %d", round+1, r.Rounds), w.Name, p.Name)
				res, err := startMeasure(ctx, p, w, t, r.Quick)
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
				r.add(p, w, round, res, err)
				show.done(w.takes(t))
			}
		}
	}
	return nil
}

// startMeasure starts this program again to measure a peer at a work: a client that breaks, or leaves something behind, does
// no harm to what comes after it. It and its server are a process group, which is killed if it takes too long.
func startMeasure(ctx context.Context, p *Peer, w *Work, t Times, quick bool) (*Result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+3*w.takes(t))
	defer cancel()
	t.Run *= time.Duration(max(w.Factor, 1))
	job, err := json.Marshal(job{p.Name, w.Name, t, quick})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "measure", string(job))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, errors.New("took too long")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, firstLine(stderr.String()))
	}
	res := new(Result)
	return res, json.Unmarshal(stdout.Bytes(), res)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// job is what a process that measures is told.
type job struct {
	Peer, Work string
	Times      Times
	Quick      bool
}

// measureOne is that process: it starts the server, is the client, and prints the Result.
func measureOne(args []string) error {
	var j job
	if len(args) != 1 {
		return errors.New("measure what?")
	}
	if err := json.Unmarshal([]byte(args[0]), &j); err != nil {
		return err
	}
	p, err := peerNamed(j.Peer)
	if err != nil {
		return err
	}
	for _, w := range works(j.Quick) {
		if w.Name != j.Work {
			continue
		}
		s, err := startServer(context.Background(), p.Name)
		if err != nil {
			return err
		}
		defer s.kill()
		res, err := measure(s, p, w, j.Times)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	return fmt.Errorf("there is no work %q", j.Work)
}
