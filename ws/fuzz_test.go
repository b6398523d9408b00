package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"terasocket/db/dbtest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Whatever bytes a client sends, it receives nothing but "Not allowed to send message", pongs and one close frame, in valid
// frames; its socket ends when it does; and its neighbour notices nothing.
func FuzzFrames(f *testing.F) {
	mask := string([]byte{1, 2, 3, 4})
	for _, seed := range []string{
		"", "\x81\x80" + mask, // an empty text
		"\x82\x85" + mask + "hello", "\x01\x81" + mask + "a\x80\x81" + mask + "b", // binary; a text in two frames
		"\x89\x80" + mask, "\x8a\x80" + mask, // ping, pong
		"\x88\x82" + mask + "\x02\xea", "\x88\x81" + mask + "x", "\x88\x80" + mask, // close: 1000, too short, empty
		"\x81\x05hello",                                         // not masked
		"\x83\x80" + mask, "\xf1\x80" + mask, "\x80\x80" + mask, // unknown opcode, reserved bits, a continuation of nothing
		"\x81\xfe\x10\x01" + mask, "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01" + mask, // over the limit, and a length beyond the data
		"\x09\x80" + mask, "\x89\xfe\x00\x7e" + mask, // a fragmented control frame, and a long one
		"GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	g := newGateway(f, nil, nil)
	neighbour := g.connect(f, "user?id=user_8_a").Conn
	var n atomic.Int64
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d", n.Add(1)))
		raw := c.NetConn().(*net.TCPConn)
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = raw.Write(sent) // the gateway may have closed already
		_ = raw.CloseWrite()
		c.SetPongHandler(func(string) error { return nil })
		c.SetCloseHandler(func(int, string) error { return nil })
		for {
			kind, data, err := c.ReadMessage()
			var closed *websocket.CloseError
			if err == nil {
				if kind != websocket.TextMessage || string(data) != notAllowed {
					t.Fatalf("received %d %q", kind, data)
				}
				continue
			} else if errors.As(err, &closed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
				break
			}
			t.Fatalf("ended with %v", err)
		}
		dbtest.Eventually(t, "it is gone", func() bool { return g.Len() == 1 })
		g.deliver("all is well", user(7), user(8))
		(&client{neighbour, t}).want("all is well")
	})
}

// isReset: a socket closed with unread bytes is reset.
func isReset(err error) bool {
	var broken *net.OpError
	return errors.As(err, &broken) && !broken.Timeout()
}
