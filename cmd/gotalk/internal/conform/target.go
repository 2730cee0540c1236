package conform

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Options say whom to check, and how.
type Options struct {
	Addr     string            // HOST:PORT, tls://HOST:PORT, unix:PATH, ws://… or wss://…
	Ops      map[string]string // the peer's names for operations, where they are not those of Operations
	Run      *regexp.Regexp    // which checks, by name; nil for all
	Timeout  time.Duration     // for each check; 0 is 5 s
	Quiet    time.Duration     // for how long nothing may come where nothing is due; 0 is 50 ms
	Known    string            // the peer of old whose deviations are no failures, or ""
	Origin   string            // of WebSockets; "" is the server's own host
	Insecure bool              // take any certificate of tls:// and wss://
	Strict   bool              // an operation that the peer lacks is a failure; an extension is not
}

// Operation is something that a peer offers so that it can be checked.
type Operation struct{ Name, Kind, Does string }

// Operations are what checks call. A peer that has only echo is checked for what can be seen with that. The last two, which
// have no kind, are ours.
var Operations = []Operation{
	{"echo", "request", "returns its payload"},
	{"fail", "request", "answers with an error"},
	{"wait", "request", "does not answer until it is cancelled or runs out of time"},
	{"call", "request", "requests our operation answer with its payload, and returns the result, or an error if it gets one"},
	{"stream", "streaming request", "sends each part back as soon as it comes, and ends the result after the end of the input"},
	{"ping", "notification", "sends the notification pong with the same payload"},
	{"answer", "", "the request that call makes"},
	{"pong", "", "the notification that ping sends"},
}

// target is the peer under test, and what is known about it.
type target struct {
	options Options
	address address
	offers  map[string]bool   // operations, and keys of its hello
	lacks   map[string]string // what it lacks, if there is more to say than that
	window  int               // that it grants to streams
}

func (g *target) op(name string) string {
	if other := g.options.Ops[name]; other != "" {
		return other
	}
	return name
}

// needed says what a peer that is not fit for a check lacks, "" if it is.
func (g *target) needed(needs string) string {
	for _, need := range strings.Fields(needs) {
		if g.offers[need] {
			continue
		}
		if why := g.lacks[need]; why != "" {
			return why
		}
		for _, o := range Operations {
			if o.Name == need {
				return fmt.Sprintf("needs operation %s", g.op(need))
			}
		}
		return fmt.Sprintf("needs extension %s", need)
	}
	return ""
}

const unknownName = "conform/no such operation"

// explore finds out what the peer offers. Only an error result that says so, as one for a name that nobody has, counts
// as lacking: whatever else an operation does wrong is for its checks to find.
func (g *target) explore() {
	g.offers, g.lacks = map[string]bool{}, map[string]string{}
	g.offers["websocket"] = g.address.url != nil
	g.lacks["websocket"] = "needs a WebSocket"
	g.lacks["any"] = fmt.Sprintf("needs operation %s for any bytes", g.op("echo"))
	patient := *g // as what is overlooked here would not be checked
	patient.options.Timeout = max(3*g.options.Timeout, 3*time.Second)
	if _, failed := patient.do(func(t *T) { t.connect() }); failed != nil {
		for _, op := range []string{"echo", "any", "fail", "call", "wait", "stream"} {
			g.offers[op] = true // as far as we know: nothing could be asked
		}
		return
	}
	refusal := unknownOperation(g, 'r', unknownName)
	lacking := func(typ byte, op string) (bool, string) {
		said := unknownOperation(g, typ, op)
		return said != "" && said == strings.ReplaceAll(refusal, unknownName, op), said
	}
	for _, op := range []string{"echo", "fail", "call", "wait"} {
		lacks, _ := lacking('r', g.op(op))
		g.offers[op] = !lacks
	}
	lacks, said := lacking('s', g.op("stream"))
	switch {
	case said == "stream requests not supported":
		g.lacks["stream"] = "needs operation stream; the peer supports no streams"
	default:
		g.offers["stream"] = !lacks
	}
	g.offers["any"] = g.offers["echo"]
	patient.do(func(t *T) {
		c := t.connect()
		c.send(request('r', "any!", t.op("echo"), "\x00\xff"))
		if m := c.next("an answer"); m.is("E", "any!") {
			g.offers["any"] = false
		}
	})
	patient.do(func(t *T) {
		c := t.connect()
		c.send(note(t.op("ping"), hello))
		c.echo(hello)
		for {
			if m := c.next(""); m.typ == 'n' && m.name == t.op("pong") {
				g.offers["ping"] = true
				return
			} else if m.is("REe", "0001") && !c.waits(max(4*t.options.Quiet, 200*time.Millisecond)) {
				return
			}
		}
	})
	patient.do(func(t *T) {
		c := t.dial()
		c.send(sent{header: version}, note("gotalk:hello", `{"cancel":1,"credit":1000,"error":1,"goaway":1,"meta":1}`))
		c.wantVersion()
		id := c.echo(hello)
		for c.hello == nil {
			if m, ok := c.maybe(""); !ok || m.is("REe", id) {
				break
			}
		}
		if c.hello == nil {
			return
		}
		g.offers["hello"] = true
		keys, _ := c.hello.keys()
		for key := range keys {
			g.offers[key] = true
		}
		json.Unmarshal(keys["credit"], &g.window)
	})
}

// unknownOperation returns the text of the error that answers a request, "" if there is none.
func unknownOperation(g *target, typ byte, op string) (text string) {
	quick := *g
	quick.options.Timeout = min(g.options.Timeout, max(10*g.options.Quiet, time.Second/4)) // the operation wait never answers
	quick.do(func(t *T) {
		c := t.connect()
		c.send(request(typ, "find", op, hello))
		if m := c.next(""); m.is("E", "find") {
			text = m.payload
		}
	})
	return text
}
