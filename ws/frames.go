package ws

import (
	"github.com/gorilla/websocket"

	"terasocket/proto/event"
)

const encodings = 3

// Frames is one event as it goes over the wire: encoded when the first socket needs that encoding, and then kept.
// One goroutine at a time.
type Frames struct {
	event    *event.Event
	prepared [encodings]*websocket.PreparedMessage
	size     [encodings]int // bytes of the payload
	err      [encodings]error
}

// NewFrames encodes nothing yet. The event must not change any more.
func NewFrames(e *event.Event) *Frames { return &Frames{event: e} }

func (f *Frames) in(encoding event.Encoding) (*websocket.PreparedMessage, error) {
	if f.prepared[encoding] == nil && f.err[encoding] == nil {
		f.err[encoding] = f.prepare(encoding)
	}
	return f.prepared[encoding], f.err[encoding]
}

func (f *Frames) prepare(encoding event.Encoding) error {
	payload, err := f.event.Encode(encoding)
	if err != nil {
		return err
	}
	opcode := websocket.TextMessage
	if encoding == event.Protobuf {
		opcode = websocket.BinaryMessage
	}
	f.size[encoding] = len(payload)
	f.prepared[encoding], err = websocket.NewPreparedMessage(opcode, payload)
	return err
}

// encodingName is the encoding in metrics.
func encodingName(e event.Encoding) string {
	return [encodings]string{event.Protobuf: "protobuf", event.JSON: "json", event.JSONWithSeq: "json_seq"}[e]
}
