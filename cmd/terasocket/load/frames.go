package load

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455 that need an answer.
const (
	opClose = 8
	opPing  = 9
)

var errProtocol = errors.New("not what a websocket server sends")

// nextFrame takes the first frame off b; ok is false if it is incomplete.
func nextFrame(b []byte) (opcode byte, payload, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return 0, nil, b, false, nil
	}
	if b[1]&0x80 != 0 { // servers do not mask
		return 0, nil, b, false, errProtocol
	}
	header, n := 2, uint64(b[1])
	switch n {
	case 126:
		header = 4
		if len(b) < header {
			return 0, nil, b, false, nil
		}
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		header = 10
		if len(b) < header {
			return 0, nil, b, false, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-header) < n {
		return 0, nil, b, false, nil
	}
	end := header + int(n)
	return b[0] & 0x0f, b[header:end], b[end:], true, nil
}

// eventOf returns the number in a payload, if it is one of ours.
func eventOf(payload []byte) (number int, ok bool) {
	at := bytes.Index(payload, []byte(Mark))
	if at < 0 || len(payload) < at+len(Mark)+markDigits {
		return 0, false
	}
	for _, digit := range payload[at+len(Mark) : at+len(Mark)+markDigits] {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		number = 10*number + int(digit-'0')
	}
	return number, true
}

// pong answers a ping, with a zero mask.
func pong(payload []byte) []byte {
	return append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}
