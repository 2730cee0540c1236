package gotalk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// What was received before the connection ended comes first, then why it ended; whatever waits ends, on both sides.
func TestConnectionIsLostInAnyPhase(t *testing.T) {
	for name, phase := range map[string]func(st *gotalk.Stream) error{
		"begun":          func(*gotalk.Stream) error { return nil },
		"sent":           func(st *gotalk.Stream) error { return st.Send([]byte("x")) },
		"ended":          func(st *gotalk.Stream) error { return st.CloseSend() },
		"waits for room": func(st *gotalk.Stream) error { go io.Copy(st, zeroReader{}); return nil },
		"receives":       func(st *gotalk.Stream) error { go st.Recv(); return nil },
	} {
		for _, byPeer := range []bool{false, true} {
			t.Run(fmt.Sprint(name, byPeer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					handled := make(chan error, 1)
					h := echoHandlers()
					h.HandleStream("op", func(ctx context.Context, st *gotalk.Stream) error {
						for range 3 {
							if err := st.Send([]byte("part")); err != nil {
								return err
							}
						}
						<-ctx.Done()
						err := ctx.Err()
						for err == context.Canceled {
							if _, err = st.Recv(); err == nil { // what has come
								err = context.Canceled
							}
						}
						handled <- err
						if st.Send([]byte("late")) == nil || st.CloseSend() == nil || st.Close() == nil {
							return errors.New("sent without a connection")
						}
						return err
					})
					s := serveInMemory(t, h, nil)
					c := s.client(nil)
					st := open(t, c, "op")
					require.NoError(t, phase(st))
					synctest.Wait()
					if byPeer {
						s.sock().Close()
					} else {
						c.Close()
					}
					<-st.Context().Done()
					parts := 3
					if name == "receives" {
						parts = 2
					}
					for range parts {
						recvs(t, st, "part")
					}
					for range 2 {
						_, err := st.Recv()
						require.ErrorIs(t, err, gotalk.ErrSockClosed)
					}
					if name != "ended" {
						require.ErrorIs(t, st.Send([]byte("late")), gotalk.ErrSockClosed)
					} else {
						require.Error(t, st.Send([]byte("late")))
					}
					st.CloseSend()
					require.NoError(t, st.Close())
					require.NoError(t, st.Close())
					require.ErrorIs(t, await(t, handled), map[bool]error{true: io.EOF, false: gotalk.ErrSockClosed}[name == "ended"])
					_, err := c.OpenStream(t.Context(), "op")
					require.ErrorIs(t, err, gotalk.ErrSockClosed)
				})
			})
		}
	}
}

// Shutdown waits for streams under way, and refuses others.
func TestShutdownWaitsForStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, streamOps(), nil)
		c := s.client(nil)
		st := open(t, c, "copy")
		require.NoError(t, st.Send([]byte("one")))
		recvs(t, st, "one")
		down := inBackground(func() error { return s.tcp.Shutdown(t.Context()) })
		waits(t, down)
		_, err := c.OpenStream(t.Context(), "copy") // it was told
		require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
		require.NoError(t, st.Send([]byte("two")))
		recvs(t, st, "two")
		waits(t, down)
		require.NoError(t, st.CloseSend())
		_, err = st.Recv()
		require.Equal(t, io.EOF, err)
		goesOn(t, down)
	})
	synctest.Test(t, func(t *testing.T) { // a peer that does not know of goaway
		s := serveInMemory(t, streamOps(), nil)
		p := s.peer()
		p.say(begin("aaaa", "copy", 1) + "x")
		p.hearsAll(part("S", "aaaa", 1) + "x")
		down := inBackground(func() error { return s.tcp.Shutdown(t.Context()) })
		waits(t, down)
		p.say(begin("bbbb", "copy", 1) + "x")
		require.Regexp(t, `^ebbbb[0-9a-f]{8}0000000dshutting down$`, p.hearAll())
		p.say(part("p", "aaaa", 1)+"y", part("p", "aaaa", 0))
		p.hearsAll(part("S", "aaaa", 1)+"y", part("S", "aaaa", 0), "end")
		goesOn(t, down)
	})
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, streamOps(), nil)
		st := open(t, s.client(nil), "copy")
		require.NoError(t, st.Send([]byte("one")))
		recvs(t, st, "one")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, context.DeadlineExceeded, s.tcp.Shutdown(ctx))
		_, err := st.Recv()
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
	})
}

// Of several goroutines that send and receive on one stream each part arrives once and whole.
func TestManySendAndReceiveOnOneStream(t *testing.T) {
	eachServer(t, streamOps(), nil, func(t *testing.T, s *testServer) {
		const senders, each = 8, 200
		st := open(t, s.client(nil), "copy")
		var sending, receiving sync.WaitGroup
		var mu sync.Mutex
		var got []string
		for i := range senders {
			sending.Go(func() {
				for j := range each {
					require.NoError(t, st.Send([]byte(fmt.Sprintf("%d %03d%s", i, j, zeros(j*j)))))
				}
			})
			receiving.Go(func() {
				for b, err := range st.All() {
					require.NoError(t, err)
					mu.Lock()
					got = append(got, string(b[:5]))
					mu.Unlock()
				}
			})
		}
		sending.Wait()
		require.NoError(t, st.CloseSend())
		receiving.Wait()
		sort.Strings(got)
		require.Len(t, got, senders*each)
		for i := range senders * each {
			require.Equal(t, fmt.Sprintf("%d %03d", i/each, i%each), got[i])
		}
	})
}

// A loop over the parts that is left leaves the stream as it is; Read and Recv share what is left of a part.
func TestReceiveInSeveralWays(t *testing.T) {
	st := open(t, serveTCP(t, streamOps(), nil).client(nil), "copy")
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		require.NoError(t, st.Send([]byte(text)))
	}
	for b, err := range st.All() {
		require.NoError(t, err)
		require.Equal(t, "one", string(b))
		break
	}
	p := make([]byte, 2)
	n, err := st.Read(p)
	require.NoError(t, err)
	require.Equal(t, "tw", string(p[:n]))
	recvs(t, st, "o")
	n, err = st.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = st.Read(p)
	require.NoError(t, err)
	require.Equal(t, "th", string(p[:n]))
	broken := errors.New("broken")
	written, err := st.WriteTo(writerFunc(func(b []byte) (int, error) {
		require.Equal(t, "ree", string(b))
		return 1, broken
	}))
	require.Equal(t, broken, err)
	require.EqualValues(t, 1, written)
	recvs(t, st, "four")
	require.NoError(t, st.CloseSend())
	rest, err := io.ReadAll(st)
	require.NoError(t, err)
	require.Equal(t, "five", string(rest))
	require.Error(t, st.Send(nil))

	n, err = st.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	for range st.All() {
		require.FailNow(t, "a part after the end")
	}

	last := error(nil)
	for b, err := range open(t, st.Sock(), "no such").All() {
		require.Nil(t, b)
		last = err
	}
	require.Equal(t, gotalk.CodeUnimplemented, gotalk.CodeOf(last))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// What Recv returns is the caller's own, whatever Read and WriteTo do with memory.
func TestReceivedPartsAreKept(t *testing.T) {
	const size, n = 50_000, 200
	st := open(t, serveTCP(t, streamOps(), nil).client(nil), "copy")
	go func() {
		b := make([]byte, size)
		for i := range n {
			for j := range b {
				b[j] = byte(i)
			}
			if st.Send(b) != nil {
				return
			}
		}
		st.CloseSend()
	}()
	kept := map[int][]byte{}
	p := make([]byte, size)
	for i := range n {
		if i%2 == 0 {
			b, err := st.Recv()
			require.NoError(t, err)
			kept[i] = b
		} else {
			_, err := io.ReadFull(st, p)
			require.NoError(t, err)
		}
	}
	for i, b := range kept {
		require.Len(t, b, size)
		for _, c := range b {
			require.Equal(t, byte(i), c, "part %d", i)
		}
	}
}

type question struct{ From, To int }

var count = gotalk.StreamOp[question, int]{Name: "count"}

func TestJSONStream(t *testing.T) {
	h := streamOps()
	count.Handle(h, func(_ context.Context, st *gotalk.JSONStream[int, question]) error {
		for q, err := range st.All() {
			if err != nil {
				return err
			}
			for i := q.From; i < q.To; i++ {
				if err := st.Send(i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		st, err := count.Open(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, st.Send(question{1, 4}))
		require.NoError(t, st.Send(question{10, 12}))
		require.NoError(t, st.CloseSend())
		var got []int
		for i, err := range st.All() {
			require.NoError(t, err)
			got = append(got, i)
		}
		require.Equal(t, []int{1, 2, 3, 10, 11}, got)

		// Parts that are no such value.
		raw := open(t, c, "count")
		require.NoError(t, raw.Send([]byte("one")))
		_, err = raw.Recv()
		require.Equal(t, gotalk.CodeInvalidArgument, gotalk.CodeOf(err))
		copied, err := gotalk.StreamOp[any, int]{Name: "copy"}.Open(t.Context(), c)
		require.NoError(t, err)
		require.Error(t, copied.Send(func() {}))
		require.NoError(t, copied.Send("text"))
		require.NoError(t, copied.Send(json.RawMessage("7")))
		_, err = copied.Recv()
		require.Equal(t, gotalk.CodeInvalidArgument, gotalk.CodeOf(err))
		n, err := copied.Recv()
		require.NoError(t, err)
		require.Equal(t, 7, n)
		require.NoError(t, copied.Close())
		_, err = count.Open(t.Context(), gotalk.NewSock(nil))
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
	})
	count.Handle(h, nil)
	_, err := open(t, serveTCP(t, h, nil).client(nil), "count").Recv()
	require.Equal(t, gotalk.CodeUnimplemented, gotalk.CodeOf(err))
}

// Metadata, and what is left of the time, reach the handlers of streams over two hops.
func TestStreamMetaOverTwoHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := gotalk.NewHandlers()
		far.HandleStream("far", func(ctx context.Context, st *gotalk.Stream) error {
			deadline, _ := ctx.Deadline()
			return st.Send([]byte(fmt.Sprint(time.Until(deadline), gotalk.MetaFrom(ctx)["who"])))
		})
		next := serveInMemory(t, far, nil).client(nil)
		near := gotalk.NewHandlers()
		near.HandleStream("near", func(ctx context.Context, st *gotalk.Stream) error {
			<-time.After(300 * time.Millisecond)
			there, err := next.OpenStream(gotalk.WithMeta(ctx, gotalk.MetaFrom(ctx)), "far")
			if err != nil {
				return err
			}
			_, err = io.Copy(st, there)
			return err
		})
		c := serveInMemory(t, near, nil).client(nil)
		ctx, cancel := context.WithTimeout(gotalk.WithMeta(t.Context(), map[string]string{"who": " me"}), time.Second)
		defer cancel()
		st, err := c.OpenStream(ctx, "near")
		require.NoError(t, err)
		b, err := io.ReadAll(st)
		require.NoError(t, err)
		require.Equal(t, "700ms me", string(b))
	})
}

// With the extensions off streams work as between peers of gotalk 1.x.
func TestStreamsWithoutExtensions(t *testing.T) {
	s := serveTCP(t, streamOps(), streaming)
	c := quietSock(nil)
	c.NoExtensions = true
	require.NoError(t, c.ConnectReader(s.dial(), nil))
	defer c.Close()
	st := open(t, c, "copy")
	go func() {
		io.CopyN(st, zeroReader{}, 5<<20)
		st.CloseSend()
	}()
	n, err := io.Copy(io.Discard, st)
	require.NoError(t, err)
	require.EqualValues(t, 5<<20, n)
	st = open(t, c, "fail")
	recvs(t, st, "first")
	_, err = st.Recv()
	require.EqualError(t, err, "no such thing")
	require.Equal(t, gotalk.CodeUnknown, gotalk.CodeOf(err))
}
