package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/gotalk-go/gotalk"
)

var sum = gotalk.StreamOp[int, int]{Name: "sum"}

// flow describes a stream of many bytes: how many in all, in one part, and, for a consumer, in a second.
type flow struct {
	Op                string // of the page, which is to be at the other end
	Name              string // of the counter, and of the event when it is over
	Bytes, Part, Rate int
}

// produce sends as fast as it can. The counter tells what was sent.
func (f flow) produce(st *gotalk.Stream) error {
	n := events.count(f.Name)
	part := bytes.Repeat([]byte("p"), f.Part)
	var err error
	for n.Load() < int64(f.Bytes) && err == nil {
		if err = st.Send(part); err == nil {
			n.Add(int64(f.Part))
		}
	}
	events.mark(f.Name, string(gotalk.CodeOf(err)))
	return err
}

// consume takes Rate bytes a second; none at all until the event Name+" go", if Rate is negative. The counter tells what
// was taken.
func (f flow) consume(ctx context.Context, st *gotalk.Stream) error {
	n := events.count(f.Name)
	if f.Rate < 0 {
		if _, err := events.await(ctx, f.Name+" go"); err != nil {
			return err
		}
		f.Rate = -f.Rate
	}
	start := time.Now()
	for b, err := range st.All() {
		if err != nil {
			events.mark(f.Name, string(gotalk.CodeOf(err)))
			return err
		}
		due := start.Add(time.Duration(n.Add(int64(len(b)))) * time.Second / time.Duration(f.Rate))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
	}
	events.mark(f.Name, "")
	return nil
}

// first decodes the part with which a stream begins.
func first(st *gotalk.Stream, v any) error {
	b, err := st.Recv()
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// exchange sends parts, ends its direction, and returns what comes.
func exchange(st *gotalk.Stream, parts []string) (got []string, err error) {
	got = []string{}
	for _, p := range parts {
		if err := st.Send([]byte(p)); err != nil {
			return got, err
		}
	}
	if err := st.CloseSend(); err != nil {
		return got, err
	}
	for b, err := range st.All() {
		if err != nil {
			return got, err
		}
		got = append(got, string(b))
	}
	return got, nil
}

// handleStreams registers what shows streams.
func handleStreams(h *gotalk.Handlers) {
	h.HandleStream("copy", func(_ context.Context, st *gotalk.Stream) error {
		_, err := io.Copy(st, st)
		return err
	})
	sum.Handle(h, func(_ context.Context, st *gotalk.JSONStream[int, int]) error {
		total := 0
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			total += n
			if err := st.Send(total); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStream("fail-after-two", func(_ context.Context, st *gotalk.Stream) error {
		for range 2 {
			b, err := st.Recv()
			if err == nil {
				err = st.Send(b)
			}
			if err != nil {
				return err
			}
		}
		return &gotalk.Error{Code: gotalk.CodeOutOfRange, Message: "two are enough", Details: json.RawMessage(`{"most":2}`)}
	})
	// Takes a name, says it has, and waits for its context.
	h.HandleStream("wait-stream", func(ctx context.Context, st *gotalk.Stream) error {
		var name string
		if err := first(st, &name); err != nil {
			return err
		}
		events.mark(name+" started", "")
		<-ctx.Done()
		_, recv := st.Recv()
		var send error
		for send == nil { // one more may slip through
			send = st.Send([]byte("x"))
		}
		events.mark(name+" ended", fmt.Sprintf("%s %s %s", gotalk.CodeOf(ctx.Err()), gotalk.CodeOf(recv), gotalk.CodeOf(send)))
		return ctx.Err()
	})
	h.HandleStream("meta-stream", func(ctx context.Context, st *gotalk.Stream) error {
		b, _ := json.Marshal(map[string]any{"meta": gotalk.MetaFrom(ctx), "left": left(ctx)})
		return st.Send(b)
	})
	h.HandleStream("produce", func(_ context.Context, st *gotalk.Stream) error {
		var f flow
		if err := first(st, &f); err != nil {
			return err
		}
		return f.produce(st)
	})
	h.HandleStream("consume", func(ctx context.Context, st *gotalk.Stream) error {
		var f flow
		if err := first(st, &f); err != nil {
			return err
		}
		return f.consume(ctx, st)
	})
	// A page that shuts nothing down can still let go what is held.
	h.HandleStream("release", func(_ context.Context, st *gotalk.Stream) error {
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			events.mark(string(b), "")
			if err := st.Send(b); err != nil {
				return err
			}
		}
		return nil
	})

	// The rest calls the page.
	gotalk.HandleFunc(h, "open", func(ctx context.Context, s *gotalk.Sock, q question) (answer, error) {
		ctx, cancel := q.context(ctx)
		defer cancel()
		st, err := s.OpenStream(ctx, q.Op)
		if err != nil {
			return answer{nil, describe(err)}, nil
		}
		defer st.Close()
		got, err := exchange(st, q.Parts)
		return answer{got, describe(err)}, nil
	})
	// Takes one part, and leaves the page with the rest.
	gotalk.HandleFunc(h, "open-and-leave", func(ctx context.Context, s *gotalk.Sock, op string) (string, error) {
		st, err := s.OpenStream(ctx, op)
		if err != nil {
			return "", err
		}
		defer st.Close()
		b, err := st.Recv()
		return string(b), err
	})
	gotalk.HandleFunc(h, "open-many", func(ctx context.Context, s *gotalk.Sock, q struct {
		Op string
		N  int
	}) (int, error) {
		failed := make(chan error, q.N)
		for i := range q.N {
			go func() { // ends with its stream
				st, err := s.OpenStream(ctx, q.Op)
				if err == nil {
					var got []string
					want := fmt.Sprint(i)
					got, err = exchange(st, []string{want, want})
					if err == nil && fmt.Sprint(got) != fmt.Sprintf("[%s %s]", want, want) {
						err = fmt.Errorf("stream %d got %q", i, got)
					}
				}
				failed <- err
			}()
		}
		for range q.N {
			if err := <-failed; err != nil {
				return 0, err
			}
		}
		return q.N, nil
	})
	gotalk.HandleFunc(h, "produce-to", func(ctx context.Context, s *gotalk.Sock, f flow) (*failure, error) {
		st, err := s.OpenStream(ctx, f.Op)
		if err != nil {
			return nil, err
		}
		defer st.Close()
		return describe(f.produce(st)), nil
	})
	gotalk.HandleFunc(h, "consume-from", func(ctx context.Context, s *gotalk.Sock, f flow) (*failure, error) {
		st, err := s.OpenStream(ctx, f.Op)
		if err != nil {
			return nil, err
		}
		defer st.Close()
		return describe(f.consume(ctx, st)), nil
	})
}
