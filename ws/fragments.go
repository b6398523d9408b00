package ws

import (
	"encoding/binary"
	"net"
	"time"
)

// fragments counts continuation frames. The library reports whole messages only, so an endless message of empty frames would go
// unnoticed. It follows the client's bytes and parses frame headers only. Used by the reading goroutine alone.
type fragments struct {
	net.Conn
	seen func() // called for each continuation frame
	left uint64 // payload bytes of this frame to come
	head [10]byte
	have uint8 // bytes of head
}

// Read follows the frames in what it reads.
func (f *fragments) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.follow(p[:n])
	return n, err
}

func (f *fragments) follow(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			skip := min(f.left, uint64(len(b)))
			f.left -= skip
			b = b[skip:]
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		if f.have < 2 {
			continue
		}
		need, length := uint8(2), uint64(f.head[1]&0x7f)
		switch {
		case length == 126:
			need, length = 4, uint64(binary.BigEndian.Uint16(f.head[2:]))
		case length == 127:
			need, length = 10, binary.BigEndian.Uint64(f.head[2:])
		}
		if f.have < need {
			continue
		}
		if f.head[1]&0x80 != 0 { // masked: a key of four bytes follows
			length += 4
		}
		if f.head[0]&0x0f == 0 {
			f.seen()
		}
		f.left, f.have = length, 0
	}
}

// countFragment counts a continuation frame like a message, and closes the socket if there were too many.
func (c *Conn) countFragment() {
	if !c.data.take(time.Since(c.opened), c.DataFrames) {
		c.Close(ClosePolicy)
	}
}
