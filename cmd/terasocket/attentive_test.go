package main

import (
	"os"
	"time"

	"github.com/gorilla/websocket"
)

// clientConn is what tests do with the connection of a client.
type clientConn interface {
	ReadMessage() (kind int, data []byte, err error)
	SetReadDeadline(time.Time) error
	WriteMessage(kind int, data []byte) error
	Close() error
}

// attentive is a connection that is read all the time: it answers pings while the test does something else.
type attentive struct {
	*websocket.Conn
	frames   chan frame // closed after one with an error
	deadline time.Time
}

type frame struct {
	kind int
	data []byte
	err  error
}

// keepReading makes a socket attentive.
func (s *socket) keepReading() *socket {
	a := &attentive{Conn: s.conn.(*websocket.Conn), frames: make(chan frame, 1000)}
	s.conn = a
	go func() {
		defer close(a.frames)
		for f := (frame{}); f.err == nil; {
			f.kind, f.data, f.err = a.Conn.ReadMessage()
			select {
			case a.frames <- f:
			case <-s.t.Context().Done():
				return
			}
		}
	}()
	return s
}

func (a *attentive) SetReadDeadline(t time.Time) error {
	a.deadline = t
	return nil
}

func (a *attentive) ReadMessage() (kind int, data []byte, err error) {
	select {
	case f, isOpen := <-a.frames:
		if !isOpen {
			return 0, nil, os.ErrClosed
		}
		return f.kind, f.data, f.err
	case <-time.After(time.Until(a.deadline)):
		return 0, nil, os.ErrDeadlineExceeded
	}
}
