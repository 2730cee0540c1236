// Workers shows a dispatcher that spreads jobs over several worker processes. A worker that is busy gets fewer of them, the
// jobs of one that is killed are done by others, and one that is added takes its share: nothing is lost.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gotalk-go/gotalk"
)

// primes is what the workers are there for. Both sides share its name and its types.
var primes = gotalk.Op[job, result]{Name: "primes"}

type job struct{ Below int }

type result struct {
	Count  int
	Worker int // who has counted
}

func main() {
	jobs := flag.Int("jobs", 1000, "how many jobs there are")
	verbose := flag.Bool("v", false, "also say what each worker has done, and what happens to the connections")
	worker := flag.Int("worker", 0, "be the worker with this number")
	flag.Parse()
	log.SetFlags(0)
	if *worker > 0 {
		work(*worker)
	} else {
		dispatch(*jobs, *verbose)
	}
}

// work serves jobs until standard input ends, which is when the dispatcher does.
func work(number int) {
	h := &gotalk.Handlers{}
	primes.Handle(h, func(_ context.Context, _ *gotalk.Sock, in job) (result, error) {
		time.Sleep(time.Duration(number) * time.Millisecond) // the machines are not all equally fast
		return result{countPrimes(in.Below), number}, nil
	})
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	// The limit is what makes the load that heartbeats carry honest: four of four is full. A fifth job is refused, and the
	// dispatcher takes it elsewhere.
	server.Limits = gotalk.NewLimits(4, 0)
	server.Limits.BufferMinWait, server.Limits.BufferMaxWait = 5*time.Millisecond, 10*time.Millisecond
	go server.Accept() // ends with the process
	fmt.Println(server.Addr())
	io.Copy(io.Discard, os.Stdin)
}

func countPrimes(below int) (n int) {
candidates:
	for i := 2; i < below; i++ {
		for d := 2; d*d <= i; d++ {
			if i%d == 0 {
				continue candidates
			}
		}
		n++
	}
	return n
}

// dispatch has all jobs done, while a worker is killed and another one added.
func dispatch(jobs int, verbose bool) {
	workers := map[int]*process{1: startWorker(1), 2: startWorker(2), 3: startWorker(3)}
	addrs := func() (all []string) {
		for _, w := range workers {
			all = append(all, w.addr)
		}
		return all
	}
	client := gotalk.NewClient(addrs()...)
	client.HeartbeatInterval = 50 * time.Millisecond // to hear often how busy they are
	client.Idempotent = func(op string) bool { return op == primes.Name }
	if verbose {
		client.OnState = func(e gotalk.ClientEvent) { log.Println(e.Addr, e.State, e.Err) }
	}
	if err := client.Start(); err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Printf("%d workers, %d jobs\n", len(workers), jobs)

	todo, done := make(chan int), make(chan result)
	go func() {
		for i := range jobs {
			todo <- i
		}
		close(todo)
	}()
	var callers sync.WaitGroup
	for range 16 { // a little more than the workers can take at once
		callers.Go(func() {
			for i := range todo {
				done <- call(client, job{Below: i})
			}
		})
	}
	go func() { callers.Wait(); close(done) }()

	shares := map[int]int{}
	n, lost := 0, 0
	for r := range done {
		if n++; r.Worker == 0 {
			lost++
		}
		shares[r.Worker]++
		switch n {
		case jobs / 4:
			fmt.Printf("%d jobs done: worker 2 is killed\n", n)
			workers[2].kill()
			delete(workers, 2)
		case jobs / 2:
			fmt.Printf("%d jobs done: worker 4 is added\n", n)
			workers[4] = startWorker(4)
			if err := client.SetAddrs(addrs()...); err != nil {
				log.Fatal(err)
			}
		}
	}
	delete(shares, 0)
	fmt.Printf("%d jobs done, %d lost, by %d workers\n", n-lost, lost, len(shares))
	if verbose {
		for _, number := range slices.Sorted(maps.Keys(shares)) {
			log.Printf("worker %d: %d jobs", number, shares[number])
		}
	}
	for _, w := range workers {
		w.kill()
	}
}

// call has a job done. How often it is refused by workers that are full does not matter, as long as there is time left.
func call(client *gotalk.Client, in job) result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := primes.Call(ctx, client.Sock, in)
	if err != nil {
		log.Printf("a job is lost: %v", err)
		return result{}
	}
	if out.Count != countPrimes(in.Below) {
		log.Printf("there are not %d primes below %d", out.Count, in.Below)
		return result{}
	}
	return out
}
