package gotalk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotalk-go/gotalk"
)

// Types that a program may declare for its handlers.
type (
	mySock       gotalk.Sock
	opName       string
	point        struct{ X, Y int }
	intHandler   func(int) (int, error)
	plainHandler func() error
	plainNote    func()
	pointNote    func(point)

	// codedError is an interface that implements error.
	codedError interface {
		error
		Code() int
	}
	concreteError struct{}
	structError   struct{}
)

func (*concreteError) Error() string { return "concrete" }
func (*concreteError) Code() int     { return 7 }
func (structError) Error() string    { return "struct" }

// refusal registers fn and returns what the panic says, or "" if there is none.
func refusal(register func(string, interface{}), fn interface{}) (message string) {
	defer func() {
		if v := recover(); v != nil {
			message = fmt.Sprint(v)
		}
	}()
	register("x", fn)
	return ""
}

// callRequest registers fn and calls it as a request for operation op would.
func callRequest(fn interface{}, s *gotalk.Sock, op, payload string) (string, error) {
	h := &gotalk.Handlers{}
	h.Handle("", fn)
	result, err := h.FindBufferRequestHandler(op)(s, op, []byte(payload))
	return string(result), err
}

// callNotification registers fn and calls it as a notification of that name would.
func callNotification(fn interface{}, s *gotalk.Sock, name string, payload []byte) {
	h := &gotalk.Handlers{}
	h.HandleNotification("", fn)
	h.FindNotificationHandler(name)(s, name, payload)
}

func TestHandleShapes(t *testing.T) {
	s := &gotalk.Sock{}
	var got []interface{} // the arguments of the last call
	record := func(args ...interface{}) { got = args }
	for _, fn := range []struct {
		fn     interface{}
		args   []interface{}
		result string
	}{
		{func() error { record(); return nil }, nil, ""},
		{func(p int) error { record(p); return nil }, []interface{}{5}, ""},
		{func(s *gotalk.Sock) error { record(s); return nil }, []interface{}{s}, ""},
		{func(s *gotalk.Sock, p int) error { record(s, p); return nil }, []interface{}{s, 5}, ""},
		{func(s *gotalk.Sock, op string, p int) error { record(s, op, p); return nil }, []interface{}{s, "op", 5}, ""},

		{func() (int, error) { record(); return 1, nil }, nil, "1"},
		{func(p int) (int, error) { record(p); return p, nil }, []interface{}{5}, "5"},
		{func(s *gotalk.Sock) (string, error) { record(s); return "s", nil }, []interface{}{s}, `"s"`},
		{func(s *gotalk.Sock, p int) (int, error) { record(s, p); return p, nil }, []interface{}{s, 5}, "5"},
		{func(s *gotalk.Sock, op string, p int) (string, error) { record(s, op, p); return op, nil },
			[]interface{}{s, "op", 5}, `"op"`},

		// Types of the program's own.
		{intHandler(func(p int) (int, error) { record(p); return -p, nil }), []interface{}{5}, "-5"},
		{plainHandler(func() error { record(); return nil }), nil, ""},
		{func(s *mySock) error { record(s); return nil }, []interface{}{(*mySock)(s)}, ""},
		{func(s *mySock, op opName, p int) (opName, error) { record(s, op, p); return op, nil },
			[]interface{}{(*mySock)(s), opName("op"), 5}, `"op"`},
		{func() codedError { record(); return nil }, nil, ""},
		{func() (int, codedError) { record(); return 2, nil }, nil, "2"},

		// After the Sock, and behind a name, anything is the parameter.
		{func(s *gotalk.Sock, p float64) error { record(s, p); return nil }, []interface{}{s, 5.0}, ""},
		{func(p interface{}) error { record(p); return nil }, []interface{}{5.0}, ""},
		{func(p json.RawMessage) error { record(p); return nil }, []interface{}{json.RawMessage("5")}, ""},
	} {
		t.Run(fmt.Sprintf("%T", fn.fn), func(t *testing.T) {
			got = nil
			result, err := callRequest(fn.fn, s, "op", "5")
			require.NoError(t, err)
			require.Equal(t, fn.result, result)
			require.Len(t, got, len(fn.args))
			for i := range got {
				require.Equal(t, fn.args[i], got[i])
				if reflect.TypeOf(got[i]).Kind() == reflect.Pointer {
					require.Same(t, fn.args[i], got[i])
				}
			}
		})
	}
}

func TestHandleRefusesOtherShapes(t *testing.T) {
	for _, c := range []struct {
		fn  interface{}
		why string
	}{
		{nil, "got <nil>: a function is needed"},
		{5, "got int: a function is needed"},
		{&point{}, "got *gotalk_test.point: a function is needed"},
		{(func() error)(nil), "got func() error: the function is nil"},
		{plainHandler(nil), "got gotalk_test.plainHandler: the function is nil"},
		{func() {}, "got func(): it returns no error"},
		{plainNote(func() {}), "got gotalk_test.plainNote: it returns no error"},
		{func(int) {}, "it returns no error"},
		{func() int { return 0 }, "got func() int: its last result must be error, not int"},
		{func() interface{} { return nil }, "its last result must be error, not interface {}"},
		//lint:ignore ST1008 that the error comes first is what is wrong with it
		{func() (error, int) { return nil, 0 }, "its last result must be error, not int"},
		{func() (int, int) { return 0, 0 }, "its last result must be error, not int"},
		{func() *concreteError { return nil }, "its last result must be error, not *gotalk_test.concreteError"},
		{func() structError { return structError{} }, "its last result must be error, not gotalk_test.structError"},
		{func() (int, *concreteError) { return 0, nil }, "its last result must be error, not *gotalk_test.concreteError"},
		{func() (int, int, error) { return 0, 0, nil }, "3 results are too many"},
		{func(...int) error { return nil }, "got func(...int) error: it is variadic"},
		{func(*gotalk.Sock, ...string) error { return nil }, "it is variadic"},
		{func(int, int) error { return nil }, "of 2 parameters, number 1 must be *Sock, not int"},
		{func(int, *gotalk.Sock) error { return nil }, "of 2 parameters, number 1 must be *Sock, not int"},
		{func(string, int) error { return nil }, "of 2 parameters, number 1 must be *Sock, not string"},
		{func(*point, int) error { return nil }, "of 2 parameters, number 1 must be *Sock, not *gotalk_test.point"},
		{func(**gotalk.Sock, int) error { return nil }, "of 2 parameters, number 1 must be *Sock, not **gotalk.Sock"},
		{func(string, string, int) error { return nil }, "of 3 parameters, number 1 must be *Sock, not string"},
		{func(*gotalk.Sock, int, string) error { return nil }, "of 3 parameters, number 2 must be a string, not int"},
		{func(*gotalk.Sock, []byte, string) error { return nil }, "of 3 parameters, number 2 must be a string, not []uint8"},
		{func(*gotalk.Sock, string, int, int) error { return nil }, "4 parameters are too many"},
	} {
		t.Run(fmt.Sprintf("%T", c.fn), func(t *testing.T) {
			h := &gotalk.Handlers{}
			message := refusal(h.Handle, c.fn)
			require.Contains(t, message, "#Handlers): got ")
			require.Contains(t, message, c.why+"; a request handler is one of ")
			require.True(t, strings.HasPrefix(message, "invalid handler signature "+
				"(see https://pkg.go.dev/github.com/gotalk-go/gotalk#Handlers)"), message)
			require.Nil(t, h.FindBufferRequestHandler("x"))
		})
	}
}

func TestHandleParameter(t *testing.T) {
	type nested struct {
		Name   string  `json:"name"`
		Points []point `json:"points"`
		Next   *nested `json:"next"`
	}
	echo := func(p nested) (nested, error) { return p, nil }
	echoPointer := func(p *point) (*point, error) { return p, nil }
	echoInt := func(p int) (int, error) { return p, nil }
	echoText := func(p string) (string, error) { return p, nil }
	echoBytes := func(_ *gotalk.Sock, p []byte) ([]byte, error) { return p, nil }
	echoAny := func(p interface{}) (interface{}, error) { return p, nil }
	echoMap := func(p map[string]int) (map[string]int, error) { return p, nil }
	for _, c := range []struct {
		fn              interface{}
		payload, result string // no result: the payload is refused
	}{
		{echo, `{"name":"a","points":[{"X":1,"Y":2}],"next":{"name":"b"},"more":0}`,
			`{"name":"a","points":[{"X":1,"Y":2}],"next":{"name":"b","points":null,"next":null}}`},
		{echo, `null`, `{"name":"","points":null,"next":null}`},
		{echo, `[]`, ``},
		{echo, `{"name":5}`, ``},
		{echo, `{"name":"a"`, ``},
		{echo, `{} {}`, ``},
		{echo, ``, ``},
		{echoPointer, `{"X":1}`, `{"X":1,"Y":0}`},
		{echoPointer, `null`, `null`},
		{echoPointer, ``, ``},
		{echoInt, ` 5 `, `5`},
		{echoInt, `null`, `0`},
		{echoInt, `"5"`, ``},
		{echoInt, `5.5`, ``},
		{echoInt, `99999999999999999999`, ``},
		{echoInt, ``, ``},
		{echoInt, ` `, ``},
		{echoText, `"<ä&\u0000>"`, `"\u003cä\u0026\u0000\u003e"`},
		{echoText, "\"\xff\"", `"�"`}, // what encoding/json makes of a text that is not UTF-8
		{echoBytes, `"AAEC"`, `"AAEC"`},
		{echoBytes, `"!"`, ``},
		{echoBytes, `null`, `null`},
		{echoAny, `{"a":[1,true,null]}`, `{"a":[1,true,null]}`},
		{echoAny, `null`, `null`},
		{echoAny, strings.Repeat("[", 20000) + strings.Repeat("]", 20000), ``},
		{echoMap, `{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{echoMap, `null`, `null`},
		{func(p error) error { return p }, `"cannot be made"`, ``},
	} {
		result, err := callRequest(c.fn, nil, "op", c.payload)
		require.Equal(t, c.result, result, "%T of %.40q", c.fn, c.payload)
		if c.result == "" {
			require.EqualError(t, err, "unexpected parameter type", "%T of %.40q", c.fn, c.payload)
		} else {
			require.NoError(t, err)
		}
	}
}

// A payload that cannot be decoded must not reach the handler.
func TestHandleParameterRefusedBeforeCall(t *testing.T) {
	called := false
	_, err := callRequest(func(int) error { called = true; return nil }, nil, "op", "x")
	require.Error(t, err)
	require.False(t, called)
}

func TestHandleWithoutParameterIgnoresPayload(t *testing.T) {
	for _, payload := range []string{"", "null", "5", "not JSON"} {
		result, err := callRequest(func() (int, error) { return 1, nil }, nil, "op", payload)
		require.NoError(t, err)
		require.Equal(t, "1", result)
		_, err = callRequest(func(*gotalk.Sock) error { return nil }, nil, "op", payload)
		require.NoError(t, err)
	}
}

func TestHandleErrors(t *testing.T) {
	sentinel := fmt.Errorf("outer: %w", errors.New("inner"))
	result, err := callRequest(func() error { return sentinel }, nil, "op", "")
	require.Same(t, sentinel, err)
	require.Empty(t, result)

	result, err = callRequest(func() (int, error) { return 5, sentinel }, nil, "op", "")
	require.Same(t, sentinel, err)
	require.Empty(t, result, "the value beside an error is dropped")

	coded := &concreteError{}
	_, err = callRequest(func() codedError { return coded }, nil, "op", "")
	require.Same(t, coded, err)

	_, err = callRequest(func() error { return structError{} }, nil, "op", "")
	require.Equal(t, structError{}, err)

	// A nil pointer in an error is not a nil error, here as anywhere in Go.
	_, err = callRequest(func() error { return (*concreteError)(nil) }, nil, "op", "")
	require.Equal(t, (*concreteError)(nil), err)

	_, err = callRequest(func() (chan int, error) { return make(chan int), nil }, nil, "op", "")
	var unsupported *json.UnsupportedTypeError
	require.ErrorAs(t, err, &unsupported)
}

func TestHandleNilResults(t *testing.T) {
	for _, fn := range []interface{}{
		func() (*point, error) { return nil, nil },
		func() (interface{}, error) { return nil, nil },
		func() (error, error) { return nil, nil },
		func() ([]int, error) { return nil, nil },
		func() (map[string]int, error) { return nil, nil },
	} {
		result, err := callRequest(fn, nil, "op", "")
		require.NoError(t, err)
		require.Equal(t, "null", result, "%T", fn)
	}
}

// The connection may still be writing the last result when the next one is made.
func TestHandleResultIsFresh(t *testing.T) {
	h := &gotalk.Handlers{}
	h.Handle("x", func(p json.RawMessage) (json.RawMessage, error) { return p, nil })
	fn := h.FindBufferRequestHandler("x")
	payload := []byte(`"first"`)
	first, err := fn(nil, "x", payload)
	require.NoError(t, err)
	copy(payload, `"other"`)
	second, err := fn(nil, "x", payload)
	require.NoError(t, err)
	require.Equal(t, `"first"`, string(first))
	require.Equal(t, `"other"`, string(second))
}

func TestHandlePanicPassesThrough(t *testing.T) {
	require.PanicsWithValue(t, "handler", func() {
		_, _ = callRequest(func() error { panic("handler") }, nil, "op", "")
	})
	require.PanicsWithValue(t, "handler", func() {
		callNotification(func() { panic("handler") }, nil, "name", nil)
	})
}

func TestHandleNotificationShapes(t *testing.T) {
	s := &gotalk.Sock{}
	var got []interface{}
	calls := 0
	record := func(args ...interface{}) { got, calls = args, calls+1 }
	for _, fn := range []struct {
		fn   interface{}
		args []interface{}
	}{
		{func() { record() }, nil},
		{func(p point) { record(p) }, []interface{}{point{X: 1}}},
		{func(p *point) { record(p) }, []interface{}{&point{X: 1}}},
		{func(name string, p point) { record(name, p) }, []interface{}{"name", point{X: 1}}},
		{func(s *gotalk.Sock, name string, p point) { record(s, name, p) }, []interface{}{s, "name", point{X: 1}}},
		{func(s *mySock, name opName, p point) { record(s, name, p) },
			[]interface{}{(*mySock)(s), opName("name"), point{X: 1}}},
		{pointNote(func(p point) { record(p) }), []interface{}{point{X: 1}}},
		{plainNote(func() { record() }), nil}, // a named func() used to register nothing, and crash when called
	} {
		t.Run(fmt.Sprintf("%T", fn.fn), func(t *testing.T) {
			got, calls = nil, 0
			callNotification(fn.fn, s, "name", []byte(`{"X":1}`))
			require.Equal(t, 1, calls)
			require.Equal(t, fn.args, got)
		})
	}
}

func TestHandleNotificationRefusesOtherShapes(t *testing.T) {
	for _, c := range []struct {
		fn  interface{}
		why string
	}{
		{nil, "got <nil>: a function is needed"},
		{"text", "got string: a function is needed"},
		{(func())(nil), "got func(): the function is nil"},
		{plainNote(nil), "got gotalk_test.plainNote: the function is nil"},
		{func() error { return nil }, "got func() error: it returns error, which nobody would get"},
		{func(int) int { return 0 }, "it returns int, which nobody would get"},
		{func(...int) {}, "it is variadic"},
		{func(string, ...int) {}, "it is variadic"},
		{func(*gotalk.Sock, int) {}, "of 2 parameters, number 1 must be a string, not *gotalk.Sock"},
		{func(int, string) {}, "of 2 parameters, number 1 must be a string, not int"},
		{func(string, string, int) {}, "of 3 parameters, number 1 must be *Sock, not string"},
		{func(*point, string, int) {}, "of 3 parameters, number 1 must be *Sock, not *gotalk_test.point"},
		{func(*gotalk.Sock, int, int) {}, "of 3 parameters, number 2 must be a string, not int"},
		{func(*gotalk.Sock, string, int, int) {}, "4 parameters are too many"},
	} {
		t.Run(fmt.Sprintf("%T", c.fn), func(t *testing.T) {
			h := &gotalk.Handlers{}
			message := refusal(h.HandleNotification, c.fn)
			require.Contains(t, message, c.why+"; a notification handler is one of ")
			require.True(t, strings.HasPrefix(message, "invalid handler signature "+
				"(see https://pkg.go.dev/github.com/gotalk-go/gotalk#Handlers): got "), message)
			require.Nil(t, h.FindNotificationHandler("x"))
		})
	}
}

// A notification's handler is called in any case, with what could be decoded.
func TestHandleNotificationBadPayload(t *testing.T) {
	for _, c := range []struct {
		payload string
		want    point
	}{
		{`{"X":1,"Y":2}`, point{1, 2}},
		{`{"X":1,"Y":"two"}`, point{X: 1}},
		{`{"X":1,`, point{}},
		{`"text"`, point{}},
		{`null`, point{}},
		{``, point{}},
	} {
		got, calls := point{-1, -1}, 0
		callNotification(func(p point) { got, calls = p, calls+1 }, nil, "name", []byte(c.payload))
		require.Equal(t, 1, calls, c.payload)
		require.Equal(t, c.want, got, c.payload)
	}

	pointer := &point{}
	callNotification(func(p *point) { pointer = p }, nil, "name", nil)
	require.Nil(t, pointer)
}

// The only parameter of a notification handler is always the payload.
func TestHandleNotificationSockAsParameter(t *testing.T) {
	s, called := &gotalk.Sock{}, false
	for _, payload := range []string{"", "null"} {
		called = false
		callNotification(func(p *gotalk.Sock) {
			called = true
			require.Nil(t, p)
		}, s, "name", []byte(payload))
		require.True(t, called)
	}
	callNotification(func(p *gotalk.Sock) { require.NotSame(t, s, p) }, s, "name", []byte("{}"))
}

// With a context before all else a function gets the one of its call.
func TestHandleShapesWithContext(t *testing.T) {
	s := &gotalk.Sock{}
	var got []interface{}
	record := func(ctx context.Context, args ...interface{}) {
		got = append(args, ctx.Err()) // that of a Sock without a connection has ended
	}
	args := func(args ...interface{}) []interface{} { return append(args, context.Canceled) }
	for _, c := range []struct {
		fn   interface{}
		args []interface{}
	}{
		{func(ctx context.Context) error { record(ctx); return nil }, args()},
		{func(ctx context.Context, p int) error { record(ctx, p); return nil }, args(5)},
		{func(ctx context.Context, s *gotalk.Sock) error { record(ctx, s); return nil }, args(s)},
		{func(ctx context.Context, s *mySock) (int, error) { record(ctx, s); return 1, nil }, args((*mySock)(s))},
		{func(ctx context.Context, s *gotalk.Sock, p int) error { record(ctx, s, p); return nil }, args(s, 5)},
		{func(ctx context.Context, s *gotalk.Sock, op string, p int) error { record(ctx, s, op, p); return nil }, args(s, "op", 5)},
	} {
		_, err := callRequest(c.fn, s, "op", "5")
		require.NoError(t, err, "%T", c.fn)
		require.Equal(t, c.args, got, "%T", c.fn)
	}
	for _, c := range []struct {
		fn   interface{}
		args []interface{}
	}{
		{func(ctx context.Context) { record(ctx) }, args()},
		{func(ctx context.Context, p int) { record(ctx, p) }, args(5)},
		{func(ctx context.Context, name string, p int) { record(ctx, name, p) }, args("op", 5)},
		{func(ctx context.Context, s *gotalk.Sock) { record(ctx, s) }, args(s)},
		{func(ctx context.Context, s *gotalk.Sock, p int) { record(ctx, s, p) }, args(s, 5)},
		{func(ctx context.Context, s *gotalk.Sock, name string, p int) { record(ctx, s, name, p) }, args(s, "op", 5)},
	} {
		callNotification(c.fn, s, "op", []byte("5"))
		require.Equal(t, c.args, got, "%T", c.fn)
	}
	h := &gotalk.Handlers{}
	for _, c := range []struct {
		fn  interface{}
		why string
	}{
		{func(int, context.Context) error { return nil }, "number 1 must be *Sock, not int"},
		{func(*gotalk.Sock, context.Context) error { return nil }, "context.Context must be the first parameter"},
		{func(context.Context, context.Context) error { return nil }, "context.Context must be the first parameter"},
		{func(context.Context, int, int) error { return nil }, "of 3 parameters, number 2 must be *Sock, not int"},
		{func(context.Context, *gotalk.Sock, string, int, int) error { return nil }, "5 parameters are too many"},
	} {
		require.Contains(t, refusal(h.Handle, c.fn), c.why)
	}
	require.Contains(t, refusal(h.HandleNotification, func(context.Context, int, int) {}), "number 2 must be a string, not int")
}
