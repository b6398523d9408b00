package ws

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// clientFrame encodes a masked client frame.
func clientFrame(isLast bool, opcode byte, payload []byte) []byte {
	b := opcode
	if isLast {
		b |= 0x80
	}
	frame := []byte{b}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...) // a zero mask leaves the payload unchanged
}

// A message of endless empty frames is never complete, but its frames count.
func TestEmptyFragmentsAreCounted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c := g.connect(t, "user?id=user_7_a")
	raw := c.NetConn()
	_, _ = raw.Write(clientFrame(false, 1, nil))
	for range 20 {
		_, _ = raw.Write(clientFrame(false, 0, nil))
	}
	c.wantClose(ClosePolicy)

	// a message in a few frames is answered
	c = g.connect(t, "user?id=user_7_b")
	for i, payload := range [][]byte{bytes.Repeat([]byte("x"), 200), nil, []byte("z")} {
		_, _ = c.NetConn().Write(clientFrame(i == 2, map[bool]byte{true: 1}[i == 0], payload))
	}
	if _, text, err := c.ReadMessage(); err != nil || string(text) != notAllowed {
		t.Errorf("%q, %v", text, err)
	}
	g.deliver("still open", user(7))
	c.want("still open")
}

// The same frames are seen however the bytes are split.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 200, 1}, uint8(3))
	f.Add([]byte{255, 255, 255, 255}, uint8(1))
	f.Fuzz(func(t *testing.T, lengths []byte, step uint8) {
		var bytes []byte
		want := uint64(0)
		for i, n := range lengths {
			if i == 50 {
				break
			}
			opcode := byte(i % 3)
			if opcode == 0 {
				want++
			}
			bytes = append(bytes, clientFrame(true, opcode, make([]byte, int(n)*300))...)
		}
		seen := uint64(0)
		parser := &fragments{seen: func() { seen++ }}
		for len(bytes) > 0 {
			n := min(len(bytes), int(step)+1)
			parser.follow(bytes[:n])
			bytes = bytes[n:]
		}
		if seen != want || parser.left != 0 || parser.have != 0 {
			t.Errorf("%d continuations, want %d; %d and %d are left", seen, want, parser.left, parser.have)
		}
	})
}
