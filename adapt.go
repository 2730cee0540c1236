package gotalk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

const badSignature = "invalid handler signature (see https://pkg.go.dev/github.com/gotalk-go/gotalk#Handlers)"

// errParameterType is the answer to a request whose payload is not what its handler takes. Peers know the text.
var errParameterType = errors.New("unexpected parameter type")

var (
	sockType    = reflect.TypeFor[*Sock]()
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
)

// shapes says what functions of one kind may look like.
type shapes struct {
	// params has what the parameters are, by their number: s for the Sock, n for the name, p for the decoded payload. A
	// context may come before them.
	params [4]string
	text   string // for people
}

var (
	requestShapes = &shapes{
		params: [4]string{"", "p", "sp", "snp"}, // or "s", see requestHandler
		text: "a request handler is one of func() R, func(param) R, func(*Sock) R, func(*Sock, param) R and " +
			"func(*Sock, op string, param) R, where R is error or (result, error), " +
			"or the same with a context.Context first",
	}
	notificationShapes = &shapes{
		params: [4]string{"", "p", "np", "snp"},
		text: "a notification handler is one of func(), func(param), func(name string, param) and " +
			"func(*Sock, name string, param), or the same with a context.Context first, without results",
	}
)

// adapted is a function that was found to have a legal shape. Its parameters come in the order of the fields; a nil
// type says that the function does not have that parameter.
type adapted struct {
	fn                reflect.Value
	ctx               bool // the first parameter is a context
	sock, name, param reflect.Type
}

// requestHandler makes a handler of a function that has one of the shapes that Handlers.Handle lists. It panics when fn
// is anything else.
func requestHandler(fn interface{}) requestFunc {
	a := adapt(fn, requestShapes)
	if isSock(a.param) && a.sock == nil { // func(*Sock)
		a.sock, a.param = a.param, nil
	}
	t := a.fn.Type()
	last := t.NumOut() - 1
	switch {
	case last < 0:
		refuse(fn, requestShapes, "it returns no error")
	case last > 1:
		refuse(fn, requestShapes, "%d results are too many", t.NumOut())
	case t.Out(last).Kind() != reflect.Interface || !t.Out(last).Implements(errorType):
		// A struct or pointer that implements error could never be the nil that stands for success.
		refuse(fn, requestShapes, "its last result must be error, not %s", t.Out(last))
	}

	serve := func(ctx context.Context, s *Sock, op string, payload []byte) ([]byte, error) {
		param, err := a.decode(payload)
		if err != nil {
			return nil, errParameterType
		}
		out := a.call(ctx, s, op, param)
		if err := out[last]; !err.IsNil() {
			return nil, err.Interface().(error)
		}
		if last == 0 {
			return nil, nil
		}
		return json.Marshal(out[0].Interface())
	}
	if a.ctx {
		return requestFunc{withCtx: serve}
	}
	return requestFunc{plain: func(s *Sock, op string, payload []byte) ([]byte, error) {
		return serve(context.Background(), s, op, payload) // which it does not take
	}}
}

// notificationHandler makes a handler of a function that has one of the shapes that Handlers.HandleNotification lists.
// It panics when fn is anything else.
func notificationHandler(fn interface{}) noteFunc {
	a := adapt(fn, notificationShapes)
	if a.ctx && isSock(a.param) && a.sock == nil { // func(context.Context, *Sock)
		a.sock, a.param = a.param, nil
	}
	if t := a.fn.Type(); t.NumOut() > 0 {
		refuse(fn, notificationShapes, "it returns %s, which nobody would get", t.Out(0))
	}

	serve := func(ctx context.Context, s *Sock, name string, payload []byte) {
		// Nobody waits for an answer that could say that decoding failed: the handler gets what there is.
		param, _ := a.decode(payload)
		a.call(ctx, s, name, param)
	}
	if a.ctx {
		return noteFunc{withCtx: serve}
	}
	return noteFunc{plain: func(s *Sock, name string, payload []byte) {
		serve(context.Background(), s, name, payload) // which it does not take
	}}
}

// adapt checks that fn is a function and takes what functions of its kind may take.
func adapt(fn interface{}, legal *shapes) *adapted {
	a := &adapted{fn: reflect.ValueOf(fn)}
	switch {
	case a.fn.Kind() != reflect.Func:
		refuse(fn, legal, "a function is needed")
	case a.fn.IsNil():
		refuse(fn, legal, "the function is nil")
	case a.fn.Type().IsVariadic():
		refuse(fn, legal, "it is variadic")
	}
	n, first := a.fn.Type().NumIn(), 0
	if n > 0 && a.fn.Type().In(0) == contextType {
		a.ctx, first = true, 1
	}
	if n-first >= len(legal.params) {
		refuse(fn, legal, "%d parameters are too many", n)
	}
	params := legal.params[n-first]
	if a.ctx && params == "np" && isSock(a.fn.Type().In(1)) { // with a context, notifications have the shapes of requests too
		params = "sp"
	}
	for i, param := range params {
		i += first
		t := a.fn.Type().In(i)
		if t == contextType {
			refuse(fn, legal, "context.Context must be the first parameter")
		}
		switch param {
		case 's':
			if !isSock(t) {
				refuse(fn, legal, "of %d parameters, number %d must be *Sock, not %s", n, i+1, t)
			}
			a.sock = t
		case 'n':
			if t.Kind() != reflect.String {
				refuse(fn, legal, "of %d parameters, number %d must be a string, not %s", n, i+1, t)
			}
			a.name = t
		case 'p':
			a.param = t
		}
	}
	return a
}

// refuse panics with a message that says what fn is, what is wrong with it, and what is legal.
func refuse(fn interface{}, legal *shapes, format string, args ...interface{}) {
	panic(fmt.Sprintf("%s: got %T: %s; %s", badSignature, fn, fmt.Sprintf(format, args...), legal.text))
}

// isSock tells whether a parameter of type t gets the Sock: it is *Sock, or points to a type declared as Sock is.
func isSock(t reflect.Type) bool {
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.ConvertibleTo(sockType)
}

// decode returns the function's parameter, decoded as far as that is possible.
func (a *adapted) decode(payload []byte) (param reflect.Value, err error) {
	if a.param == nil {
		return param, nil
	}
	p := reflect.New(a.param)
	err = json.Unmarshal(payload, p.Interface())
	return p.Elem(), err
}

// call calls the function with those of the arguments that it takes.
func (a *adapted) call(ctx context.Context, s *Sock, name string, param reflect.Value) []reflect.Value {
	in := make([]reflect.Value, 0, 4)
	if a.ctx {
		in = append(in, reflect.ValueOf(ctx))
	}
	if a.sock != nil {
		in = append(in, reflect.ValueOf(s).Convert(a.sock))
	}
	if a.name != nil {
		in = append(in, reflect.ValueOf(name).Convert(a.name))
	}
	if a.param != nil {
		in = append(in, param)
	}
	return a.fn.Call(in)
}
