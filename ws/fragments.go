package ws

import (
	"encoding/binary"
	"net"
	"time"
)

// fragments counts the frames that continue a message: the library tells of messages only, and one of ever more empty
// frames would be none for ever. It follows the client's bytes from frame to frame, and looks at nothing but their heads.
// It is the reading goroutine's.
type fragments struct {
	net.Conn
	seen func() // told of each
	left uint64 // bytes of this frame
	head [10]byte
	have uint8 // of the head
}

// Read is net.Conn's.
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
		if f.head[1]&0x80 != 0 { // masked: four bytes more
			length += 4
		}
		if f.head[0]&0x0f == 0 {
			f.seen()
		}
		f.left, f.have = length, 0
	}
}

// countFragment counts one as a message, and closes the socket when there were too many.
func (c *Conn) countFragment() {
	if !c.data.take(time.Since(c.opened), c.DataFrames) {
		c.Close(ClosePolicy)
	}
}
