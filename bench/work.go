package main

import "fmt"

// Kind is a kind of work, each measured in its own way.
type Kind int

const (
	Echo      Kind = iota // Conn.Echo, as often as it goes
	Beside                // Conn.Echo of a small payload, beside large ones
	Call                  // Conn.Call, as often as it goes
	Notify                // Conn.Notify by one goroutine
	Idle                  // memory of connections by Peer.Receive
	Broadcast             // Server.Broadcast to connections by Peer.Receive
)

// Work is something that peers are measured at. It fills one row of the table, or several.
type Work struct {
	Name     string
	Kind     Kind
	Bytes    int    // of a payload
	Large    int    // of the payloads that small ones are measured beside
	Conns    int    // connections
	InFlight int    // calls at once on each connection, or broadcasts one after the other until all must have arrived
	Rows     []Row  // what is measured, in the order of Result.Values
	Base     string // the peer that ratios are relative to, if that of the command line cannot do this work
	Rounds   int    // at most so many, if not 0
	Factor   int    // how many times longer than usual it is measured, if not 0
}

// Row is one row of the table.
type Row struct {
	Name string
	Unit Unit
	Less bool // less is better
	Side bool // explains another row, and is not drawn
}

// Unit is what a figure of a row counts.
type Unit string

const (
	PerSecond Unit = "/s"
	Seconds   Unit = "s"
	Bytes     Unit = "B"
)

const (
	besideBytes    = 16_000_000 // below the usual limits of 16 MiB
	broadcastBytes = 128
	itemText       = "a few words, as they are in most messages"
)

// works returns all rows. quick ones use fewer connections.
func works(quick bool) []*Work {
	idle, listeners := 10_000, 5_000
	if quick {
		idle, listeners = 1_000, 500
	}
	rate := func(name string, w Work) *Work {
		w.Name, w.Rows = name, []Row{{Name: name, Unit: PerSecond}}
		return &w
	}
	return []*Work{
		rate("25 B, 1 in flight", Work{Kind: Echo, Bytes: 25, Conns: 1, InFlight: 1}),
		rate("25 B, 64 in flight", Work{Kind: Echo, Bytes: 25, Conns: 1, InFlight: 64}),
		rate("25 B, 1,024 in flight", Work{Kind: Echo, Bytes: 25, Conns: 1, InFlight: 1024}),
		rate("25 B, 32 connections x 8", Work{Kind: Echo, Bytes: 25, Conns: 32, InFlight: 8}),
		rate("1 KB, 64 in flight", Work{Kind: Echo, Bytes: 1 << 10, Conns: 1, InFlight: 64}),
		rate("64 KB, 4 in flight", Work{Kind: Echo, Bytes: 64 << 10, Conns: 1, InFlight: 4}),
		rate("1 MB, 4 in flight", Work{Kind: Echo, Bytes: 1 << 20, Conns: 1, InFlight: 4}),
		rate("struct, 64 in flight", Work{Kind: Call, Conns: 1, InFlight: 64}),
		rate("25 B notifications", Work{Kind: Notify, Bytes: noteSize, Conns: 1, InFlight: 1, Base: "grpc-go"}),
		{
			Name: "25 B beside 16 MB", Kind: Beside, Bytes: 25, Large: besideBytes, Conns: 1, InFlight: 1, Factor: 2,
			Rows: []Row{
				{Name: "25 B beside 16 MB: p50", Unit: Seconds, Less: true},
				{Name: "25 B beside 16 MB: p99", Unit: Seconds, Less: true},
				{Name: "16 MB beside 25 B", Unit: PerSecond, Side: true},
			},
		},
		{
			Name: "idle WebSocket", Kind: Idle, Conns: idle, Base: "gorilla", Rounds: 3,
			Rows: []Row{{Name: fmt.Sprintf("idle WebSocket of %s", thousands(idle)), Unit: Bytes, Less: true}},
		},
		rate(fmt.Sprintf("128 B broadcast to %s", thousands(listeners)),
			Work{Kind: Broadcast, Bytes: broadcastBytes, Conns: listeners, InFlight: 1, Base: "gorilla"}),
		rate(fmt.Sprintf("16 broadcasts to %s", thousands(listeners)),
			Work{Kind: Broadcast, Bytes: broadcastBytes, Conns: listeners, InFlight: 16, Base: "gorilla"}),
	}
}

// thousands formats n as 10,000.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
