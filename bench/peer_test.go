package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each peer answers rightly at all that it says it can do. A millisecond is one call of each goroutine, if not more.
func TestPeersDoTheirWork(t *testing.T) {
	for _, p := range slices.DeleteFunc(slices.Clone(peers), isFake) {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s, err := startServer(t.Context(), p.Name)
			require.NoError(t, err)
			defer s.kill()
			for _, w := range works(true) {
				if !p.Does(w) {
					continue
				}
				few := *w
				few.Conns, few.InFlight = min(w.Conns, 3), min(w.InFlight, 8)
				few.Bytes, few.Large = min(w.Bytes, 256<<10), 256<<10 // the race detector takes its time with JSON
				res, err := measure(s, p, &few, Times{})
				require.NoError(t, err, w.Name)
				require.Len(t, res.Values, len(w.Rows), w.Name)
				if w.Kind != Idle { // where it may be that nothing more was needed
					require.Positive(t, res.Calls, w.Name)
					for i, v := range res.Values {
						require.Positive(t, v, w.Rows[i].Name)
					}
				}
			}
		})
	}
}

func TestPeersAreOrdered(t *testing.T) {
	var names []string
	for _, p := range slices.DeleteFunc(slices.Clone(peers), isFake) {
		names = append(names, p.Name)
	}
	require.Equal(t, "gotalk", names[0])
	require.Less(t, slices.Index(names, "gotalk WebSocket"), slices.Index(names, "grpc-go"))
	require.Less(t, slices.Index(names, "ttrpc"), slices.Index(names, "ceiling: inline"))
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names))
}

// Wrong answers are noticed, so that what is counted are calls.
func TestWrongAnswersAreNoticed(t *testing.T) {
	echo := func(answer func(in []byte) []byte) error {
		return echoer(&Conn{Echo: func(in, _ []byte) ([]byte, error) { return answer(in), nil }}, 25)(7)
	}
	require.NoError(t, echo(slices.Clone[[]byte]))
	require.Error(t, echo(func(in []byte) []byte { return in[:24] }))
	require.Error(t, echo(func(in []byte) []byte { return pattern(25, 8) }))
	require.Error(t, echo(func(in []byte) []byte { return pattern(25, 7|1<<8) }))

	item := caller(&Conn{Call: func(in Item) (Item, error) { return in, nil }})
	require.Error(t, item(1))
	item = caller(&Conn{Call: func(in Item) (Item, error) { return in.answer(), nil }})
	require.NoError(t, item(1))

	var s Server
	s.Arrived([]byte("short"))
	s.Arrived(pattern(noteSize, 0))
	require.Zero(t, s.arrived.Load())
}
