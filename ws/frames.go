package ws

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

const encodings = 3

// Frames is one event in its wire forms, each encoded when the first socket needs it and then kept. Safe for concurrent use.
type Frames struct {
	event  *event.Event
	origin origin

	mu              sync.Mutex
	frames          [event.Forms][encodings]*frame
	isParsed        bool
	present, former access.RoutingKeys
}

// origin is where a message comes from.
type origin uint8

const (
	fromLog      origin = iota
	fromSnapshot        // presence: its seq is not that of a row of the log
	fromGateway         // Cursor and ReplayIncomplete, which concern nobody
)

// frame is one encoding of one form.
type frame struct {
	wire   []byte // header and payload
	seq    uint64 // fromLog
	origin origin
	err    error

	isDelete bool // an object's keys alone
}

// NewFrames encodes nothing yet. The event must not change afterwards.
func NewFrames(e *event.Event) *Frames { return &Frames{event: e} }

func (f *Frames) in(form event.Form, encoding event.Encoding) (*frame, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := &f.frames[form][encoding]
	if *at == nil {
		*at = f.prepare(form, encoding)
	}
	return *at, (*at).err
}

func (f *Frames) prepare(form event.Form, encoding event.Encoding) *frame {
	payload, err := f.event.Encode(form, encoding)
	if err != nil {
		return &frame{err: err}
	}
	opcode := websocket.TextMessage
	if encoding == event.Protobuf {
		opcode = websocket.BinaryMessage
	}
	return &frame{wire: appendFrame(nil, opcode, payload), seq: f.event.Seq, origin: f.origin, isDelete: form == event.Delete}
}

// appendFrame appends a message as one final, unmasked frame (RFC 6455, section 5.2). The library writes frames one at a time;
// ours are joined.
func appendFrame(b []byte, opcode int, payload []byte) []byte {
	const final = 0x80
	b = append(b, final|byte(opcode))
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// keys returns the parsed routing keys of the event.
func (f *Frames) keys() (present, former access.RoutingKeys) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isParsed {
		f.present, f.former = access.ParseRoutingKeys(f.event.Present), access.ParseRoutingKeys(f.event.Former)
		f.isParsed = true
	}
	return f.present, f.former
}

// formFor returns the form of the event that a principal receives.
func (f *Frames) formFor(v *access.View) event.Form {
	present, former := f.keys()
	return f.event.FormFor(v.Satisfies(present, access.Present), v.Satisfies(former, access.State(f.event.FormerAsOf)), v.IsSuperadmin())
}

// encodingName is the value of the metric label "encoding".
func encodingName(e event.Encoding) string {
	return [encodings]string{event.Protobuf: "protobuf", event.JSON: "json", event.JSONWithSeq: "json_seq"}[e]
}
