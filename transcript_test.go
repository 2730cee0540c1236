package gotalk_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The recordings in testdata/vectors are conversations of old peers. Each is replayed twice: its client's bytes to a
// server of ours, whose bytes must be those of the recorded server, and its server's bytes to a client of ours. Where
// ours deliberately says something else, the tables of the tests say what and why.

// transcript is a recorded conversation as its file has it.
type transcript struct {
	name      string
	Client    string
	Server    string
	Transport string // tcp or ws
	Events    []struct {
		Millis    int `json:"t_ms"`
		Conn      int
		From      string
		Kind      string
		Bytes     []byte `json:"bytes_b64"`
		HeaderLen int    `json:"header_len"`
		Opcode    byte
		CloseCode int `json:"close_code"`
		Volatile  []volatileRange
		Decoded   struct{ Origin, Path string }
	}
}

// volatileRange says which bytes differ from run to run: times, loads, random waits.
type volatileRange struct{ Off, Len int }

// masked is b with its volatile bytes made equal to those of any other run.
func masked(b []byte, ranges []volatileRange) string {
	b = bytes.Clone(b)
	for _, r := range ranges {
		for i := r.Off; i < min(r.Off+r.Len, len(b)); i++ {
			b[i] = '*'
		}
	}
	return string(b)
}

// step is what one side of a conversation does next.
type step struct {
	from     string        // client or server
	at       time.Duration // since the beginning of the recording
	frames   [][]byte      // of a version or message: its header, then its payload if there is one
	opcodes  []byte        // of the WebSocket messages that the frames travel in
	volatile []volatileRange
	close    int  // code of a WebSocket close frame
	end      bool // the side says that it sends no more: FIN, or a reset
	reset    bool
}

func (s step) message() []byte { return bytes.Join(s.frames, nil) }

func (s step) is(t byte) bool { return len(s.frames) > 0 && s.frames[0][0] == t }

func (s step) String() string {
	switch {
	case s.end:
		return s.from + ": end"
	case s.close != 0:
		return fmt.Sprintf("%s: close %d", s.from, s.close)
	}
	return fmt.Sprintf("%s: %.200q", s.from, s.frames)
}

// say makes a step that sends a message, or a version.
func say(from, header, payload string) step {
	s := step{from: from, frames: [][]byte{[]byte(header)}, opcodes: []byte{2}}
	if payload != "" {
		s.frames, s.opcodes = append(s.frames, []byte(payload)), []byte{2, 2}
	}
	return s
}

func loadTranscript(t testing.TB, name string) (tr transcript) {
	data, err := os.ReadFile(filepath.Join("testdata", "vectors", name+".json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &tr))
	require.NotEmpty(t, tr.Events)
	tr.name = name
	return tr
}

// conversations gives the steps of each connection in the recording.
func (tr transcript) conversations(t testing.TB) (convs [][]step) {
	open := map[string]int{} // header steps that wait for their payload event, by side
	for _, e := range tr.Events {
		conn := max(e.Conn, 1)
		if conn > len(convs) {
			convs = append(convs, nil)
			require.Len(t, convs, conn)
		}
		s := step{from: e.From, at: time.Duration(e.Millis) * time.Millisecond, volatile: e.Volatile}
		switch e.Kind {
		case "http_upgrade_request", "http_upgrade_response":
			continue
		case "fin", "tcp_fin":
			s.end = true
		case "rst", "tcp_rst":
			s.end, s.reset = true, true
		case "ws_close":
			s.close = e.CloseCode
		case "message":
			s.frames, s.opcodes = [][]byte{e.Bytes[:e.HeaderLen]}, []byte{2, 2}
			if len(e.Bytes) > e.HeaderLen {
				s.frames = append(s.frames, e.Bytes[e.HeaderLen:])
			}
		case "payload":
			// A WebSocket message of its own, and part of the message that its header began.
			header := &convs[conn-1][open[e.From]]
			header.frames, header.opcodes = append(header.frames, e.Bytes), append(header.opcodes, e.Opcode)
			continue
		case "version", "raw", "header":
			s.frames, s.opcodes = [][]byte{e.Bytes}, []byte{cmp.Or(e.Opcode, 2)}
			open[e.From] = len(convs[conn-1])
		default:
			require.Failf(t, "unknown kind of event", "%s: %q", tr.name, e.Kind)
		}
		convs[conn-1] = append(convs[conn-1], s)
	}
	return convs
}

// origin is the Origin header of the recorded upgrade request.
func (tr transcript) origin(t testing.TB) string {
	require.Equal(t, "http_upgrade_request", tr.Events[0].Kind)
	return tr.Events[0].Decoded.Origin
}

// split says how the scripted side cuts what it sends.
type split struct {
	name      string
	whole     bool // everything at once, with no regard for answers; in one message on a WebSocket
	bytes     bool // each byte in a write or WebSocket message of its own
	fragments bool // WebSocket only: each byte a fragment of its message
	at        int  // if not 0: what is written is written in two parts, cut here
}

// conversation replays the steps of one side, me, to a live peer and compares what that says with the other side's.
type conversation struct {
	steps     []step
	me        string
	wire      *wire
	split     split
	unordered bool              // what the live peer says may come in another order
	paced     bool              // keep to the times of the recording
	expecting func(s step)      // if not nil, called before waiting for the live peer
	matched   chan<- struct{}   // if not nil, gets a token for each message of the live peer
	ids       map[string]string // recorded ids of the live peer's requests -> those it used
	strays    []received        // what the live peer said and no step has asked for yet
	beats     int               // heartbeats of the live peer that no step has asked for
	pulses    []time.Duration   // when heartbeats came that did not answer one of mine
	answers   int               // heartbeats that came at the moment when my side sent something
	start     time.Time
	sent      []time.Time // when my side sent something
}

// patience is how long a live peer may take before a test gives up.
const patience = 20 * time.Second

func (c *conversation) run() error {
	c.start, c.ids = time.Now(), map[string]string{}
	if c.split.whole || c.split.at > 0 && !c.stepwise() {
		if err := c.sendWhole(); err != nil {
			return err
		}
	}
	for i, s := range c.steps {
		var err error
		if s.from == c.me {
			err = c.send(s)
		} else {
			err = c.expect(s)
		}
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s, err)
		}
	}
	if len(c.strays) > 0 {
		return fmt.Errorf("the live peer also said %v", c.strays)
	}
	return nil
}

// stepwise tells whether my side must wait for the live peer before it sends the next message: to answer a request of
// its, to try again, or because the connection is closed when all results are there.
func (c *conversation) stepwise() bool {
	mine := func(types string) func(step) bool {
		return func(s step) bool {
			return s.from == c.me && len(s.frames) > 0 && (types == "" || strings.IndexByte(types, s.frames[0][0]) >= 0)
		}
	}
	results := false
	for i, s := range c.steps {
		switch {
		case s.from == c.me:
			if s.end || s.close != 0 {
				return false
			}
		case s.is('r') || s.is('s'):
			return slices.ContainsFunc(c.steps[i:], mine(""))
		case s.is('e') && slices.ContainsFunc(c.steps[i:], mine("rs")):
			return true
		case s.end || s.close != 0:
			return results
		}
		results = results || s.from != c.me && s.isResult()
	}
	return false
}

// sendWhole sends all messages of my side and leaves the rest of the steps to be walked through.
func (c *conversation) sendWhole() error {
	var all []byte
	var rest []step
	for _, s := range c.steps {
		if s.from == c.me && len(s.frames) > 0 {
			all = append(all, s.message()...)
		} else {
			rest = append(rest, s)
		}
	}
	c.steps, c.unordered = rest, true
	return c.wire.send([][]byte{all}, []byte{2}, c.split)
}

func (c *conversation) send(s step) error {
	if c.paced {
		<-time.After(time.Until(c.start.Add(s.at)))
	}
	switch {
	case s.end:
		return c.wire.end(s.reset)
	case s.close != 0:
		return c.wire.sendClose(s.close)
	}
	frames := s.frames
	if len(c.ids) > 0 && (s.is('R') || s.is('E')) {
		if id, ok := c.ids[string(frames[0][1:5])]; ok {
			frames = slices.Clone(frames)
			frames[0] = slices.Concat(frames[0][:1], []byte(id), frames[0][5:])
		}
	}
	c.sent = append(c.sent, time.Now())
	return c.wire.send(frames, s.opcodes, c.split)
}

// expect waits for the live peer to do s.
func (c *conversation) expect(s step) error {
	if c.expecting != nil {
		c.expecting(s)
	}
	if s.is('h') && c.me == "client" {
		// A server of ours also answers heartbeats, so the recorded ones are those besides.
		for c.beats == 0 {
			if err := c.receive(); err != nil {
				return err
			}
		}
		c.beats--
		return nil
	}
	for {
		for i, r := range c.strays {
			if c.match(s, r) {
				c.strays = slices.Delete(c.strays, i, i+1)
				if c.matched != nil && len(s.frames) > 0 {
					c.matched <- struct{}{}
				}
				return nil
			}
			if !c.unordered || r.end != nil || s.isResult() && r.sameID(s) {
				return fmt.Errorf("got %s", r)
			}
		}
		if err := c.receive(); err != nil {
			return err
		}
	}
}

func (c *conversation) receive() error {
	select {
	case r := <-c.wire.in:
		if c.me == "client" && len(r.frames) == 1 && r.frames[0][0] == 'h' {
			c.beats++
			if slices.ContainsFunc(c.sent, r.at.Equal) {
				c.answers++
			} else {
				c.pulses = append(c.pulses, r.at.Sub(c.start))
			}
			return nil
		}
		c.strays = append(c.strays, r)
		return nil
	case <-time.After(patience):
		return errors.New("the live peer does not say it; so far it said " + fmt.Sprint(c.strays))
	}
}

// match compares what the live peer said with a step.
func (c *conversation) match(s step, r received) bool {
	switch {
	case s.end:
		return r.end != nil && errors.Is(r.end, errEnd)
	case s.close != 0:
		return r.close == s.close
	case len(r.frames) != len(s.frames):
		return false
	}
	got, want := masked(r.frames[0], s.volatile), masked(s.frames[0], s.volatile)
	if c.unordered && c.me == "client" && (s.is('r') || s.is('s')) {
		// The live server's own requests may have got their ids in another order than the recorded ones.
		id := volatileRange{1, 4}
		if masked(r.frames[0], []volatileRange{id}) != masked(s.frames[0], []volatileRange{id}) {
			return false
		}
		c.ids[string(s.frames[0][1:5])], got = string(r.frames[0][1:5]), want
	}
	return got == want && (len(s.frames) == 1 || bytes.Equal(r.frames[1], s.frames[1]))
}

func (s step) isResult() bool {
	return len(s.frames) > 0 && strings.IndexByte("RSEe", s.frames[0][0]) >= 0
}

// protocolError is the code that closes the conversation, -1 when none does.
func protocolError(steps []step) int {
	for _, s := range steps {
		if s.is('f') {
			var code int
			fmt.Sscanf(string(s.frames[0][1:]), "%x", &code)
			return code
		}
	}
	return -1
}

// edits, with which the tables say where ours differs from a recording.

// replace puts a message with another header and payload in the place of the one whose payload or header is old.
func replace(steps []step, old, header, payload string) []step {
	i := slices.IndexFunc(steps, func(s step) bool {
		return len(s.frames) > 0 && string(s.frames[len(s.frames)-1]) == old
	})
	changed := say(steps[i].from, header, payload)
	changed.at = steps[i].at
	return slices.Replace(slices.Clone(steps), i, i+1, changed)
}

// beforeEnd inserts steps in front of the first end.
func beforeEnd(steps []step, more ...step) []step {
	i := slices.IndexFunc(steps, func(s step) bool { return s.end })
	return slices.Insert(slices.Clone(steps), i, more...)
}

// Every recording must be replayed: one that no table names is a failure, and so is a name without a recording.
func TestTranscriptsAreAllReplayed(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	require.NoError(t, err)
	var recorded []string
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); name != "index" && name != "codec" {
			recorded = append(recorded, name)
		}
	}
	var replayed []string
	for name := range tcpServerScenarios {
		replayed = append(replayed, name)
		tr := loadTranscript(t, name)
		_, asClient := clientScenarios[name]
		handMade := strings.HasPrefix(tr.Client, "probe")
		require.NotEqual(t, handMade, asClient, "%s: a recorded client is replayed by a client of ours", name)
	}
	for name := range clientScenarios {
		require.Contains(t, tcpServerScenarios, name)
	}
	for name := range wsServerScenarios {
		replayed = append(replayed, name)
	}
	for name := range wsProbes {
		replayed = append(replayed, name)
		require.True(t, strings.HasPrefix(loadTranscript(t, name).Server, "probe"), name)
	}
	require.ElementsMatch(t, recorded, replayed)
}
