package conform_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// fault is something that a peer gets wrong.
type fault struct {
	name  string
	finds string // regular expression of the checks that must find it
	also  string // of those that may fail too, as it follows; "" is none
	fault func(p *proxy) sides
}

func in(f func(m msg) string) func(*proxy) sides  { return func(*proxy) sides { return sides{in: f} } }
func out(f func(m msg) string) func(*proxy) sides { return func(*proxy) sides { return sides{out: f} } }

// when changes messages of these types.
func when(types string, f func(m msg) string) func(m msg) string {
	return func(m msg) string {
		if m.is(types) {
			return f(m)
		}
		return m.raw
	}
}

func named(name string, f func(m msg) string) func(m msg) string {
	return when("n", func(m msg) string {
		if m.name == name {
			return f(m)
		}
		return m.raw
	})
}

func drop(msg) string    { return "" }
func twice(m msg) string { return m.raw + m.raw }
func end(msg) string     { return hangUp }

const malformedChecks = "size-not-hexadecimal|size-lookalikes|name-size-not-hex|result-size-not-hex"

// Where a fault is not theirs costly checks are left out, and each time eleven of twelve of the others.
var costly = regexp.MustCompile("^(payload-1mb|many-connections|closed-with-requests|half-messages|split-left-open|" +
	"stream-not-read|results-not-read|idle|credit-granted|" +
	"credit-overrun|stream-large|stream-refused-after-hello|in-flight|hello-empty)$")

func only(pattern string) *regexp.Regexp { return regexp.MustCompile("^(" + pattern + ")$") }

func TestFaultsAreFound(t *testing.T) {
	for i, f := range slices.Concat(requestFaults, callFaults, errorFaults, extensionFaults, moreFaults) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o := options(startProxy(t, serveTCP(t, handlers(), nil), f.fault).Addr().String())
			o.Run = someChecks(i, f, func(group string) bool { return group != "WebSocket" })
			requireFinds(t, o, f)
		})
	}
}

// someChecks are those that must find a fault, and some others, which differ from fault to fault.
func someChecks(i int, f fault, others func(group string) bool) *regexp.Regexp {
	finds := only(f.finds)
	var run []string
	j := 0
	conform.EachCheck(func(group, name string) {
		another := f.also != "." && !costly.MatchString(name) && (i+j)%12 == 0 && others(group)
		if finds.MatchString(name) || another {
			run = append(run, name)
		}
		j++
	})
	return only(strings.Join(run, "|"))
}

// requireFinds checks that the fault is found by the checks that are for it, and by no others but those that it follows from.
func requireFinds(t *testing.T, o conform.Options, f fault) {
	o.Timeout, o.Quiet = time.Second/2, 5*time.Millisecond // most faults are silence
	failed := ended(check(t, o), conform.Failed)
	for name := range strings.SplitSeq(f.finds, "|") {
		require.Contains(t, failed, name)
	}
	if f.also == "." {
		return
	}
	expected := only(f.finds + "|" + f.also)
	failed = slices.DeleteFunc(failed, expected.MatchString)
	if len(failed) > 0 { // perhaps as this machine is busy
		o.Run, o.Timeout = only(strings.Join(failed, "|")), 20*time.Second
		require.Empty(t, ended(check(t, o), conform.Failed), "of which nothing is wrong")
	}
}
