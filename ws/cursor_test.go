package ws

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/proto/event"
)

// Who passed since is told how far it is: when it opens, and when it has heard nothing for some minutes. Nobody else is.
func TestCursors(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, connect func(string) *client) {
		plain, quiet, busy := connect("user_1_a"), connect("user_2_a&since=0"), connect("user_3_a&since=0&encoding=json")
		quiet.wantCursor(1000)
		busy.wantCursor(1000)
		for _, c := range []*client{plain, quiet, busy} { // they answer pings only while they read
			go func() { readAll(c) }()
		}
		_ = event.Event{}
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func readAll(c *client) {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

var _ websocket.Conn
