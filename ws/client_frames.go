package ws

import (
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// notAllowed is what OpenTera answers to a data frame.
const notAllowed = "Not allowed to send message"

// prepareToRead sets the read limit and the handlers of control frames. Data from a client is never used, but any frame keeps
// the socket alive.
func (c *Conn) prepareToRead(ws *websocket.Conn) {
	ws.SetReadLimit(c.FrameSize)
	ws.SetPongHandler(func(string) error {
		c.alive()
		c.countControl()
		return nil
	})
	ws.SetPingHandler(func(payload string) error {
		c.alive()
		if c.countControl() {
			c.answerPing(payload)
		}
		return nil
	})
	ws.SetCloseHandler(func(code int, _ string) error {
		c.answerClose(CloseCode(code))
		return nil
	})
}

// read is the reading goroutine. It ends when the client has closed or answered a close frame, when the socket breaks
// or a deadline passes: PongWait without a frame, CloseWait after a close frame.
func (c *Conn) read(clientName, addr string) {
	left := c.arrive(clientName, addr)
	err := c.readFrames()
	left(c.finish(err) == CloseKicked)
	if c.replayed != nil {
		c.gone()
		<-c.replayed
	}
	c.hub.remove(c)
}

func (c *Conn) readFrames() error {
	for {
		_, message, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		c.alive()
		c.refuseData()
		if _, err := io.Copy(io.Discard, message); err != nil {
			return err
		}
	}
}

// alive gives the client another PongWait.
func (c *Conn) alive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		_ = c.ws.SetReadDeadline(time.Now().Add(c.PongWait))
	}
}

// countControl counts a ping or pong; it closes the socket and returns false if that was one too many.
func (c *Conn) countControl() bool {
	if c.control.take(time.Since(c.opened), c.ControlFrames) {
		return true
	}
	c.Close(ClosePolicy)
	return false
}

// answerPing sends no pong while the backlog is over its limit: a client that pings but never reads must not fill the outbox.
func (c *Conn) answerPing(payload string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 && c.backlog() <= c.Backlog {
		_ = c.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Time{}) // a broken socket ends the reading
	}
}

// refuseData answers a data frame as OpenTera does, or closes the socket if there were too many.
func (c *Conn) refuseData() {
	if !c.data.take(time.Since(c.opened), c.DataFrames) {
		c.Close(ClosePolicy)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mayWrite() {
		c.written(c.ws.WriteMessage(websocket.TextMessage, []byte(notAllowed)))
	}
}

// answerClose echoes the client's close frame, unless it answers ours.
func (c *Conn) answerClose(code CloseCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code != 0 {
		return
	}
	c.code = code
	c.ping.Stop()
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), ""), time.Time{})
}

// finish closes the socket after reading ended with err, logs it, and returns the close code.
func (c *Conn) finish(err error) CloseCode {
	how, code := howItEnded(err, c.out.readFailed.Load())

	c.mu.Lock()
	c.ping.Stop()
	if c.code == 0 {
		c.code = code
	}
	code = c.code
	sent := c.sent
	c.mu.Unlock()

	switch how {
	case endedInOrder:
		_ = c.ws.Close()
	case endedByRules:
		// The library does not send a close frame in all of these cases; a second one is a no-op.
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), code.Reason()), time.Time{})
		// A socket closed with unread bytes is reset, and the client might never see our close frame.
		_ = c.ws.SetReadDeadline(time.Now().Add(c.CloseWait))
		_, _ = io.Copy(io.Discard, c.ws.NetConn())
		_ = c.ws.Close()
	case endedBroken:
		c.out.Abort()
	}

	c.metrics.closes.WithLabelValues(code.label()).Inc()
	attrs := []any{"conn", c.id, "principal", c.Identity.Principal.String(), "code", int(code),
		"duration", time.Since(c.opened).Round(time.Millisecond), "frames", sent}
	if how != endedInOrder {
		attrs = append(attrs, "err", err)
	}
	c.log.Info("socket closed", attrs...)
	return code
}

type ending uint8

const (
	endedInOrder ending = iota // close frames went both ways
	endedByRules               // the client broke the protocol or a limit
	endedBroken                // no close frame can arrive any more
)

// howItEnded classifies a read error. isBroken means that the socket itself failed. The code applies if the socket was not
// already closing.
func howItEnded(err error, isBroken bool) (ending, CloseCode) {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		if code := CloseCode(closed.Code); code != CloseAbnormal {
			return endedInOrder, code
		}
		return endedBroken, CloseAbnormal
	case errors.Is(err, websocket.ErrReadLimit):
		return endedByRules, CloseTooBig
	case !isBroken: // the library rejected what it read
		return endedByRules, CloseProtocolError
	}
	return endedBroken, CloseAbnormal
}
