package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
)

// socket is a client of the gateway. It reads, and answers pings and close frames, when the test reads.
type socket struct {
	t      *testing.T
	conn   *websocket.Conn
	frames chan frame // not nil: it reads all the time. Closed after one with an error
}

type frame struct {
	kind int
	data []byte
	err  error
}

func dial(t *testing.T, url string) *socket {
	t.Helper()
	conn, response, err := gatewaytest.Dial(t.Context(), url)
	if err != nil {
		status := ""
		if response != nil {
			status = response.Status
		}
		t.Fatalf("dial: %v %s", err, status)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &socket{t: t, conn: conn}
}

// keepReading makes it read all the time.
func (s *socket) keepReading() *socket {
	s.frames = make(chan frame, 1000)
	go func() {
		defer close(s.frames)
		for f := (frame{}); f.err == nil; {
			f.kind, f.data, f.err = s.conn.ReadMessage()
			select {
			case s.frames <- f:
			case <-s.t.Context().Done():
				return
			}
		}
	}()
	return s
}

// readFrame reads the next frame.
func (s *socket) readFrame() (kind int, data []byte, err error) {
	if s.frames == nil {
		_ = s.conn.SetReadDeadline(time.Now().Add(gatewaytest.Limit))
		return s.conn.ReadMessage()
	}
	select {
	case f, isOpen := <-s.frames:
		if !isOpen {
			return 0, nil, os.ErrClosed
		}
		return f.kind, f.data, f.err
	case <-time.After(gatewaytest.Limit):
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// closed reads until the socket is closed.
func (s *socket) closed() *websocket.CloseError {
	s.t.Helper()
	for {
		_, _, err := s.readFrame()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			return closed
		} else if err != nil {
			s.t.Fatalf("read: %v", err)
		}
	}
}

// frame reads the next frame that is neither about presence nor a Cursor.
func (s *socket) frame() (kind int, data []byte) {
	s.t.Helper()
	for {
		kind, data, err := s.readFrame()
		if err != nil {
			s.t.Fatalf("read: %v", err)
		}
		if !isPresence(data) && !bytes.Contains(data, []byte("terasocket.v1.Cursor")) {
			return kind, data
		}
	}
}

// isPresence reports whether a frame, of either encoding, holds a UserEvent, ParticipantEvent or DeviceEvent.
func isPresence(data []byte) bool {
	for _, name := range []string{"UserEvent", "ParticipantEvent", "DeviceEvent"} {
		if bytes.Contains(data, []byte("type.googleapis.com/opentera.protobuf."+name)) {
			return true
		}
	}
	return false
}

// event reads a protobuf frame with a DatabaseEvent.
func (s *socket) event() (event.Received, *pb.DatabaseEvent) {
	s.t.Helper()
	kind, data := s.frame()
	if kind != websocket.BinaryMessage {
		s.t.Fatalf("a frame of kind %d, want binary", kind)
	}
	e, err := event.ParseFrame(data)
	if err != nil {
		s.t.Fatal(err)
	}
	d, ok := e.Message.(*pb.DatabaseEvent)
	if !ok {
		s.t.Fatalf("a %T", e.Message)
	}
	return e, d
}

// mustHear reads the next event and compares type, object type and a part of its value.
func (s *socket) mustHear(kind pb.DatabaseEvent_EventType, objectType, part string) event.Received {
	s.t.Helper()
	e, d := s.event()
	if d.GetType() != kind || d.GetObjectType() != objectType || !strings.Contains(d.GetObjectValue(), part) {
		s.t.Errorf("received %s %s %s, want %s %s with %s", d.GetType(), d.GetObjectType(), d.GetObjectValue(), kind, objectType, part)
	}
	return e
}
