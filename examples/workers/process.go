package main

import (
	"bufio"
	"log"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// process is a running worker.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// startWorker runs this program as a worker, and waits until it listens.
func startWorker(number int) *process {
	p := &process{cmd: exec.Command(os.Args[0], "-worker", strconv.Itoa(number))}
	p.cmd.Stderr = os.Stderr
	// Its end tells the worker that we are gone, however that happens. It is closed by cmd.Wait.
	if _, err := p.cmd.StdinPipe(); err != nil {
		log.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		log.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		log.Fatalf("worker %d does not say where it listens: %v", number, err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// kill ends the process at once, with whatever it is doing.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}
