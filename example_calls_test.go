package gotalk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gotalk-go/gotalk"
)

// connected returns a Sock whose peer is served by h.
func connected(h *gotalk.Handlers) (s *gotalk.Sock, closeBoth func()) {
	s, peer, err := gotalk.Pipe(h, nil)
	if err != nil {
		panic(err)
	}
	return s, func() {
		s.Close()
		peer.Close()
	}
}

// The function's types say what parameter and result are.
func ExampleHandleFunc() {
	h := &gotalk.Handlers{}
	gotalk.HandleFunc(h, "add", func(_ context.Context, _ *gotalk.Sock, in struct{ A, B int }) (int, error) {
		return in.A + in.B, nil
	})

	s, done := connected(h)
	defer done()
	sum, err := gotalk.Call[int](context.Background(), s, "add", map[string]int{"A": 40, "B": 2})
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

// A context limits how long a call may take. The handler at the other end knows of it.
func ExampleCall() {
	h := &gotalk.Handlers{}
	gotalk.HandleFunc(h, "slow", func(ctx context.Context, _ *gotalk.Sock, _ struct{}) (string, error) {
		select {
		case <-time.After(time.Hour):
			return "at last", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})

	s, done := connected(h)
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := gotalk.Call[string](ctx, s, "slow", nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded), gotalk.CodeOf(err))
	// Output: true deadline_exceeded
}

type (
	GreetIn  struct{ Name string }
	GreetOut struct{ Text string }
)

// Greet is declared once, in a package that those who serve it and those who call it share.
var Greet = gotalk.Op[GreetIn, GreetOut]{Name: "greet"}

func ExampleOp() {
	h := &gotalk.Handlers{}
	Greet.Handle(h, func(_ context.Context, _ *gotalk.Sock, in GreetIn) (GreetOut, error) {
		return GreetOut{Text: "Hello " + in.Name}, nil
	})

	s, done := connected(h)
	defer done()
	out, err := Greet.Call(context.Background(), s, GreetIn{Name: "Rasmus"})
	fmt.Println(out.Text, err)
	// Output: Hello Rasmus <nil>
}

// Note is for notifications what Op is for requests.
func ExampleNote() {
	joined := gotalk.Note[string]{Name: "joined"}
	heard := make(chan string)
	h := &gotalk.Handlers{}
	joined.Handle(h, func(_ context.Context, _ *gotalk.Sock, name string) { heard <- name + " has joined" })

	s, done := connected(h)
	defer done()
	if err := joined.Send(context.Background(), s, "Anna"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-heard)
	// Output: Anna has joined
}

// A handler says with a code what kind of failure it is, so that the caller can act on it.
func ExampleNewError() {
	h := &gotalk.Handlers{}
	h.Handle("user", func(id int) (string, error) {
		err := gotalk.NewError(gotalk.CodeNotFound, fmt.Sprintf("there is no user %d", id))
		err.Details = json.RawMessage(`{"last":41}`)
		return "", err
	})

	s, done := connected(h)
	defer done()
	err := s.Request("user", 42, nil)
	fmt.Println(err)
	var failure *gotalk.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Code, string(failure.Details))
	}
	// Output:
	// there is no user 42
	// not_found {"last":41}
}

func ExampleCodeOf() {
	h := &gotalk.Handlers{}
	h.Handle("fail", func() error { return errors.New("a plain error") })

	s, done := connected(h)
	defer done()
	fmt.Println(gotalk.CodeOf(s.Request("fail", nil, nil)))
	fmt.Println(gotalk.CodeOf(s.Request("nonsense", nil, nil)))
	s.Close()
	fmt.Println(gotalk.CodeOf(s.Request("fail", nil, nil)))
	// Output:
	// unknown
	// unimplemented
	// unavailable
}

// The caller makes the request again by itself, after that time and a little more.
func ExampleRetryAfter() {
	h, tries := &gotalk.Handlers{}, 0
	h.Handle("soup", func() (string, error) {
		if tries++; tries == 1 {
			return "", gotalk.RetryAfter(10*time.Millisecond, "still warming up")
		}
		return "here you are", nil
	})

	s, done := connected(h)
	defer done()
	var answer string
	err := s.Request("soup", nil, &answer)
	fmt.Println(answer, err, tries)
	// Output: here you are <nil> 2
}

// Metadata goes along with a request, beside its parameter.
func ExampleWithMeta() {
	h := &gotalk.Handlers{}
	h.Handle("whoami", func(ctx context.Context) (string, error) {
		return gotalk.MetaFrom(ctx)["user"], nil
	})

	s, done := connected(h)
	defer done()
	ctx := gotalk.WithMeta(context.Background(), map[string]string{"user": "anna"})
	var user string
	err := s.RequestContext(ctx, "whoami", nil, &user)
	fmt.Println(user, err)
	// Output: anna <nil>
}

// An interceptor sees every call of the peer's and how it ends, and may refuse it.
func ExampleHandlers_Use() {
	h := &gotalk.Handlers{}
	h.Use(func(ctx context.Context, call *gotalk.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		fmt.Printf("%v %s: %d bytes in, %d out, %q\n", call.Kind, call.Op, call.BytesIn, call.BytesOut, gotalk.CodeOf(err))
		return err
	}, func(ctx context.Context, call *gotalk.CallInfo, next func(context.Context) error) error {
		if call.Op == "secret" && gotalk.MetaFrom(ctx)["token"] != "xyzzy" {
			return gotalk.NewError(gotalk.CodePermissionDenied, "it is secret")
		}
		return next(ctx)
	})
	h.Handle("double", func(n int) (int, error) { return 2 * n, nil })
	h.Handle("secret", func() (string, error) { return "plugh", nil })

	s, done := connected(h)
	defer done()
	s.Request("double", 50, nil)
	err := s.Request("secret", nil, nil)
	fmt.Println(err)
	// Output:
	// request double: 2 bytes in, 3 out, ""
	// request secret: 4 bytes in, 0 out, "permission_denied"
	// it is secret
}

// An interceptor of a Sock is around the calls that this side makes.
func ExampleSock_Use() {
	h := &gotalk.Handlers{}
	h.Handle("whoami", func(ctx context.Context) (string, error) { return gotalk.MetaFrom(ctx)["user"], nil })

	s, done := connected(h)
	defer done()
	s.Use(func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
		return next(gotalk.WithMeta(ctx, map[string]string{"user": "anna"}))
	})
	var user string
	err := s.Request("whoami", nil, &user)
	fmt.Println(user, err)
	// Output: anna <nil>
}

// A server of large payloads that keeps none of them, and a caller who needs each only until the next: both use their
// memory again.
func ExampleSock_BufferRequestInto() {
	h := &gotalk.Handlers{}
	h.HandleBufferRequestLent("upper", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		for i, c := range payload {
			if 'a' <= c && c <= 'z' {
				payload[i] = c - 'a' + 'A'
			}
		}
		return payload, nil // lent until it is written
	})

	s, done := connected(h)
	defer done()
	memory := make([]byte, 1<<20)
	for _, text := range []string{"one page", "another page"} {
		result, err := s.BufferRequestInto(context.Background(), "upper", []byte(text), memory)
		fmt.Printf("%s %v %v\n", result, err, &result[0] == &memory[0])
	}
	// Output:
	// ONE PAGE <nil> true
	// ANOTHER PAGE <nil> true
}
