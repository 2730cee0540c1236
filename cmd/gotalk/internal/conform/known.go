package conform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// deviation is how a peer of old fails a check.
type deviation struct {
	class string // of the failure, "" for any
	does  string
	fatal bool // the check would end its process
}

const jsBoundaries = "takes each WebSocket message for the version, a header or a payload"

// deviations are those of section 11 of PROTOCOL.md, by peer and check.
var deviations = map[string]map[string]deviation{
	"gotalk-1.3.7": {
		"version-unsupported":     {class: classClosed, does: "closes without a protocol error"},
		"version-garbage":         {class: classClosed, does: "closes without a protocol error"},
		"size-not-hexadecimal":    {class: classClosed, does: "closes without a protocol error"},
		"size-lookalikes":         {class: classClosed, does: "closes without a protocol error"},
		"name-size-not-hex":       {class: classClosed, does: "closes without a protocol error"},
		"result-size-not-hex":     {class: classClosed, does: "closes without a protocol error"},
		"part-of-no-stream":       {class: classClosed, does: "closes without a protocol error"},
		"stream-refused":          {class: classClosed, does: "closes on a part of a stream that it has refused"},
		"stream-id-in-use":        {class: classClosed, does: "panics on the id of a stream that it has seen before", fatal: true},
		"stream-id-again":         {class: classClosed, does: "panics on the id of a stream that it has seen before", fatal: true},
		"notification-empty-name": {does: "reads a byte too many of a notification with an empty name"},
		"protocol-error-taken":    {class: classSilence, does: "notices a protocol error only with four more bytes or the end"},
		"heartbeat-answered":      {class: classWrong, does: "does not answer heartbeats"},
		"call-stream-result":      {does: "reads no further after a streaming result of a single request"},
		"size-claimed":            {does: "takes the memory that a size claims at once, and ends if there is none"},
		"reserved-names-dropped":  {class: classWrong, does: "hands reserved names to its fallback handler"},
		"websocket-origin":        {class: classWrong, does: "lets pages of all sites connect"},
		"websocket-subprotocols":  {class: classWrong, does: "refuses a client that offers several subprotocols"},
		"websocket-reserved-bits": {class: classSilence, does: "takes frames with reserved bits"},
		"websocket-opcodes":       {class: classSilence, does: "takes frames with reserved opcodes"},
		"websocket-control-size":  {class: classSilence, does: "takes control frames that are too long"},
		"websocket-continuation":  {class: classSilence, does: "takes frames in the wrong order"},
		"websocket-no-retry":      {class: classWrong, does: "answers with e, which ends old JavaScript clients"},
	},
	"gotalk.js-1.2.1": {
		"version-garbage":            {class: classSilence, does: "stays open, and never works"},
		"version-pipelined":          {class: classSilence, does: jsBoundaries},
		"version-in-pieces":          {does: jsBoundaries},
		"heartbeat-in-pieces":        {does: jsBoundaries},
		"call-in-pieces":             {does: jsBoundaries},
		"size-not-hexadecimal":       {class: classSilence, does: "loses a message with a malformed number"},
		"size-lookalikes":            {class: classSilence, does: "loses a message with a malformed number"},
		"name-size-not-hex":          {class: classSilence, does: "loses a message with a malformed number"},
		"result-size-not-hex":        {class: classSilence, does: "loses a message with a malformed number"},
		"stream-refused":             {class: classWrong, does: "closes with protocol error 2 when it gets s"},
		"stream-to-request":          {class: classWrong, does: "closes with protocol error 2 when it gets s"},
		"call-retry":                 {class: classWrong, does: "closes with protocol error 2 when it gets e"},
		"results-nobody-waits-for":   {class: classWrong, does: "closes with protocol error 2 when it gets e"},
		"heartbeat-answered":         {class: classWrong, does: "does not answer heartbeats"},
		"one-byte-at-a-time":         {class: classWrong, does: jsBoundaries},
		"cut-anywhere":               {class: classWrong, does: jsBoundaries},
		"websocket-boundaries":       {class: classWrong, does: jsBoundaries},
		"websocket-joined-messages":  {class: classSilence, does: jsBoundaries},
		"websocket-empty-messages":   {class: classWrong, does: jsBoundaries},
		"error-characters-as-bytes":  {does: "announces a wrong size for text such as emoji"},
		"payload-utf8":               {does: "announces a wrong size for text such as emoji"},
		"name-any":                   {class: classSilence, does: "never answers operations such as constructor"},
		"reserved-names-dropped":     {class: classWrong, does: "hands reserved names to its fallback handler"},
		"call-stream-result":         {does: "takes the first part for the result"},
		"protocol-error-other-codes": {class: classSilence, does: "cannot close with large codes"},
	},
}

// KnownPeers lists the peers of old whose deviations are known.
func KnownPeers() string { return strings.Join(slices.Sorted(maps.Keys(deviations)), " and ") }

// compare says which peers of old fail a check in the same way.
func (g *target) compare(name string, failed *failure, r *Result) {
	var as []string
	for _, peer := range slices.Sorted(maps.Keys(deviations)) {
		d, ok := deviations[peer][name]
		if !ok || d.class != "" && d.class != failed.Class {
			continue
		}
		as = append(as, fmt.Sprintf("as %s does: %s", peer, d.does))
		if peer == g.options.Known {
			r.Outcome = Known
		}
	}
	r.As = strings.Join(as, "; ")
}

// KnownChecks lists the checks that a peer of old is known to fail.
func KnownChecks(peer string) []string { return slices.Sorted(maps.Keys(deviations[peer])) }
