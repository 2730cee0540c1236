package gotalk_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// codecVectors is what old peers encode and decode. The fields about JavaScript are for the tests of gotalk.js.
type codecVectors struct {
	Version []struct {
		Input []byte `json:"input_b64"`
		Go    struct {
			Consumed int
			Version  *uint8
			Error    string
		} `json:"go_readversion"`
	}
	FormatRequestID []struct {
		N     uint32
		Bytes []byte `json:"bytes_b64"`
	} `json:"go_format_request_id"`
	Encode []struct {
		Name string
		Func string
		Args struct {
			Type       string
			ID         []byte `json:"id_b64"`
			Name       string
			NameRepeat []any `json:"name_repeat"` // a character and how often
			Wait, Size uint32
			Load       uint16
		}
		Bytes    []byte `json:"bytes_b64"`
		Panic    string
		Volatile []volatileRange
	} `json:"go_encode"`
	Decode []decodeVector
}

type decodeVector struct {
	Name  string
	Input []byte `json:"input_b64"`
	Go    struct {
		Consumed   int
		Type       string
		ID         []byte `json:"id_b64"`
		Name       []byte `json:"name_b64"`
		NameLen    *int   `json:"name_len"`
		Wait, Size uint32
		Error      string
		ErrorIsEOF bool `json:"error_is_eof"`
	} `json:"go_readmsg"`
}

func loadCodecVectors(t *testing.T) (v codecVectors) {
	data, err := os.ReadFile("testdata/vectors/codec.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	require.NotEmpty(t, v.Version)
	require.NotEmpty(t, v.FormatRequestID)
	require.NotEmpty(t, v.Encode)
	require.NotEmpty(t, v.Decode)
	return v
}

// encodeFixes are the encodings that old peers get wrong and nobody can decode, with what they should have been.
var encodeFixes = map[string]string{
	"r with empty name": "r000100000000003", // an empty name has the size 000; old peers leave the size out
	"s with empty name": "s000100000000003",
	"n empty name":      "n00000000003",
}

// decodeFixes are the inputs that an old ReadMsg takes wrongly: it always reads 13 bytes, even where a header is
// shorter. The value is the size of the header, which must be consumed exactly.
var decodeFixes = map[string]int{
	"notification empty name size 0, end of input":      12,
	"notification empty name size 0, then next message": 12,
	"notification empty name with payload":              12,
	"protocol error then more data":                     9,
	"protocol error then 2 bytes then end":              9,
}

func TestVersionVectors(t *testing.T) {
	var b bytes.Buffer
	n, err := gotalk.WriteVersion(&b)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, "01", b.String())

	for _, v := range loadCodecVectors(t).Version {
		for name, wrap := range wrappers {
			in := bytes.NewReader(v.Input)
			got, err := gotalk.ReadVersion(wrap(in))
			where := name + " " + string(v.Input)
			if name != readsAhead {
				require.Equal(t, v.Go.Consumed, len(v.Input)-in.Len(), where)
			}
			switch {
			case v.Go.Version != nil:
				require.NoError(t, err, where)
				require.Equal(t, *v.Go.Version, got, where)
			case v.Go.Error == "EOF":
				require.Equal(t, io.EOF, err, where)
			case strings.HasPrefix(v.Go.Error, "strconv."):
				// Digits that are none: the old text is that of a parser, ours names the version.
				require.ErrorContains(t, err, "unsupported protocol version", where)
			default:
				require.EqualError(t, err, v.Go.Error, where)
			}
		}
	}
}

func TestFormatRequestIDVectors(t *testing.T) {
	for _, v := range loadCodecVectors(t).FormatRequestID {
		require.Equal(t, v.Bytes, gotalk.FormatRequestID(v.N), v.N)
	}
}

func TestEncodeVectors(t *testing.T) {
	fixed := 0
	for _, v := range loadCodecVectors(t).Encode {
		t.Run(v.Name, func(t *testing.T) {
			if v.Func == "MakeHeartbeatMsg" {
				for _, b := range [][]byte{nil, make([]byte, 13), make([]byte, 100)} {
					now := time.Now().Unix()
					got := gotalk.MakeHeartbeatMsg(v.Args.Load, b)
					require.Equal(t, masked(v.Bytes, v.Volatile), masked(got, v.Volatile))
					mt, _, _, load, sent, err := gotalk.ReadMsg(bytes.NewReader(got), nil)
					require.NoError(t, err)
					require.Equal(t, gotalk.MsgTypeHeartbeat, mt)
					require.Equal(t, uint32(v.Args.Load), load)
					require.GreaterOrEqual(t, int64(sent), now)
				}
				return
			}
			require.Equal(t, "MakeMsg", v.Func)
			a, name := v.Args, v.Args.Name
			if a.NameRepeat != nil {
				name = strings.Repeat(a.NameRepeat[0].(string), int(a.NameRepeat[1].(float64)))
			}
			encode := func() []byte {
				return gotalk.MakeMsg(gotalk.MsgType(a.Type[0]), string(a.ID), name, a.Wait, a.Size)
			}
			if v.Panic != "" {
				// Where an old peer dies of an index out of range, ours says what is wrong with the argument.
				defer func() { require.Contains(t, recover(), "gotalk: MakeMsg: ") }()
				encode()
			}
			want := string(v.Bytes)
			if fix, ok := encodeFixes[v.Name]; ok {
				want = fix
				fixed++
			}
			require.Equal(t, want, string(encode()))
		})
	}
	require.Equal(t, len(encodeFixes), fixed, "a fix whose vector is gone")
}

// An id of one, two or three bytes and a name of more than 4095 are mistakes of the program.
func TestMakeMsgPanics(t *testing.T) {
	for _, id := range []string{"a", "ab", "abc"} {
		for _, mt := range "rspRSEe" {
			require.Panics(t, func() { gotalk.MakeMsg(gotalk.MsgType(mt), id, "op", 0, 0) }, id)
		}
	}
	long := strings.Repeat("x", 4096)
	for _, mt := range "rsn" {
		require.Panics(t, func() { gotalk.MakeMsg(gotalk.MsgType(mt), "abcd", long, 0, 0) })
		require.NotPanics(t, func() { gotalk.MakeMsg(gotalk.MsgType(mt), "abcd", long[1:], 0, 0) })
	}
}

// readsAhead reads ahead by design, so that what is left behind it says nothing about who reads from it.
const readsAhead = "error with end"

// wrappers are the ways in which a reader may hand out its bytes.
var wrappers = map[string]func(io.Reader) io.Reader{
	"whole":        func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
	"by halves":    iotest.HalfReader,
	readsAhead:     iotest.DataErrReader,
}

func TestDecodeVectors(t *testing.T) {
	fixed := 0
	for _, v := range loadCodecVectors(t).Decode {
		consumed, end := v.Go.Consumed, v.Go.ErrorIsEOF
		if n, ok := decodeFixes[v.Name]; ok {
			consumed, end = n, false
			fixed++
		}
		for how, wrap := range wrappers {
			t.Run(v.Name+" "+how, func(t *testing.T) {
				in := bytes.NewReader(v.Input)
				exact := how != readsAhead
				mt, id, name, wait, size, err := gotalk.ReadMsg(wrap(in), make([]byte, 21))
				switch {
				case end:
					require.Equal(t, io.EOF, err)
					if exact {
						require.Zero(t, in.Len())
					}
				case v.Go.Error != "" && !v.Go.ErrorIsEOF:
					require.Error(t, err)
					require.NotErrorIs(t, err, io.EOF)
				default:
					require.NoError(t, err)
					require.Equal(t, v.wantType(), mt)
					require.Equal(t, string(v.Go.ID), id)
					if v.Go.NameLen != nil {
						require.Len(t, name, *v.Go.NameLen)
						require.Contains(t, string(v.Input), name)
					} else {
						require.Equal(t, string(v.Go.Name), name)
					}
					require.Equal(t, v.wantWaitAndSize(), [2]uint32{wait, size})
					if exact {
						rest, err := io.ReadAll(in)
						require.NoError(t, err)
						require.Equal(t, string(v.Input[consumed:]), string(rest), "payload bytes stay in the reader")
					}
				}
			})
		}
		if !end && (v.Go.Error == "" || v.Go.ErrorIsEOF) {
			t.Run(v.Name+" truncated", func(t *testing.T) {
				for n := range consumed {
					for how, wrap := range wrappers {
						_, _, _, _, _, err := gotalk.ReadMsg(wrap(bytes.NewReader(v.Input[:n])), nil)
						require.Equal(t, io.EOF, err, "%s, first %d of %d bytes", how, n, consumed)
					}
				}
			})
		}
	}
	require.Equal(t, len(decodeFixes), fixed, "a fix whose vector is gone")
}

// wantType and wantWaitAndSize are what the vector says, also where the old ReadMsg reported the end of the input
// because it wanted a thirteenth byte.
func (v decodeVector) wantType() gotalk.MsgType {
	if v.Go.Type == "" {
		return gotalk.MsgType(v.Input[0])
	}
	return gotalk.MsgType(v.Go.Type[0])
}

func (v decodeVector) wantWaitAndSize() [2]uint32 { return [2]uint32{v.Go.Wait, v.Go.Size} }

// A connection that breaks in the middle of a header gives its own error, not the end of the input.
func TestReadMsgBrokenReader(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("r0001004ec"), iotest.ErrReader(io.ErrClosedPipe))
	_, _, _, _, _, err := gotalk.ReadMsg(broken, nil)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
