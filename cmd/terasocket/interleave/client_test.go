package interleave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/gorilla/websocket"

	"terasocket/cmd/terasocket/gatewaytest"
	pb "terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// client is a socket of a viewer. A goroutine reads it to its end and keeps what it receives.
type client struct {
	viewer int
	name   string // "user 3 live"
	conn   *websocket.Conn

	mu      sync.Mutex
	heard   []heard
	lastSeq uint64
	marks   map[string]uint64 // sentinels by name, with their seq
	problem string            // something that must not arrive
	closed  int               // close code, -1 for another end, 0 while open
	changed chan struct{}     // closed and replaced whenever something arrives
}

// heard is a DatabaseEvent as received.
type heard struct {
	seq    uint64
	kind   kind
	object object
	body   body
	text   string
}

// isDelete reports whether the client takes it as the end of the object.
func (h heard) isDelete() bool { return h.kind == deleted || h.body.isDead }

// kind is C, U or D.
type kind byte

const (
	created kind = 'C'
	updated kind = 'U'
	deleted kind = 'D'
)

func newClient(viewer int, name string, conn *websocket.Conn) *client {
	c := &client{viewer: viewer, name: name, conn: conn, marks: map[string]uint64{}, changed: make(chan struct{})}
	go c.read()
	return c
}

func (c *client) read() {
	for {
		kind, frame, err := c.conn.ReadMessage()
		c.mu.Lock()
		if err != nil {
			c.closed = -1
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				c.closed = closed.Code
			}
		} else if err := c.take(kind, frame); err != nil {
			c.problem = err.Error()
		}
		close(c.changed)
		c.changed = make(chan struct{})
		isOver := c.closed != 0
		c.mu.Unlock()
		if isOver {
			return
		}
	}
}

// take handles one frame. c.mu is held.
func (c *client) take(kind int, frame []byte) error {
	e, err := gatewaytest.Parse(kind, frame)
	if err != nil {
		return err
	}
	c.lastSeq = max(c.lastSeq, e.Seq)
	switch m := e.Message.(type) {
	case *pb.ArchiveEvent:
		c.marks[m.GetArchiveUrl()] = e.Seq
	case *pb.DatabaseEvent:
		h, err := readEvent(e.Seq, m)
		if err != nil {
			return err
		}
		c.heard = append(c.heard, h)
	case *terasocket.ReplayIncomplete:
		return errors.New("ReplayIncomplete although nothing was trimmed")
	}
	return nil
}

func readEvent(seq uint64, d *pb.DatabaseEvent) (heard, error) {
	h := heard{seq: seq, text: d.GetObjectValue()}
	switch d.GetType() {
	case pb.DatabaseEvent_DB_CREATE:
		h.kind = created
	case pb.DatabaseEvent_DB_UPDATE:
		h.kind = updated
	case pb.DatabaseEvent_DB_DELETE:
		h.kind = deleted
	default:
		return h, fmt.Errorf("a DatabaseEvent of type %s", d.GetType())
	}
	var value map[string]any
	if err := json.Unmarshal([]byte(d.GetObjectValue()), &value); err != nil {
		return h, fmt.Errorf("object_value %q: %w", d.GetObjectValue(), err)
	}
	id, ok := value["id_"+d.GetObjectType()].(float64)
	if !ok {
		return h, fmt.Errorf("no id in %q of %s", d.GetObjectValue(), d.GetObjectType())
	}
	h.object = object{d.GetObjectType(), int(id)}
	h.body = newBody(d.GetObjectType(), value)
	return h, nil
}

// wait returns once the sentinel has arrived, or the socket has ended.
func (c *client) wait(ctx context.Context, mark string) error {
	for {
		c.mu.Lock()
		_, isThere := c.marks[mark]
		isOver, changed := c.closed != 0, c.changed
		c.mu.Unlock()
		if isThere || isOver {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s waits for %s: %w", c.name, mark, ctx.Err())
		}
	}
}

// taken returns what was received since the last call.
func (c *client) taken() (all []heard, closed int, problem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.heard = c.heard, nil
	return all, c.closed, c.problem
}
