package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"terasocket/db/dbtest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestDataFramesAreAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.DataFrames = 3 }, nil)
	other, c := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_7_b")
	for _, opcode := range []int{websocket.TextMessage, websocket.BinaryMessage, websocket.TextMessage} {
		if err := c.WriteMessage(opcode, bytes.Repeat([]byte("x"), 4096)); err != nil {
			t.Fatal(err)
		}
		got, text, err := c.ReadMessage()
		if err != nil || got != websocket.TextMessage || string(text) != "Not allowed to send message" {
			t.Fatalf("%d %q %v", got, text, err)
		}
	}
	g.deliver("still open", user(7))
	c.want("still open")
	_ = c.WriteMessage(websocket.TextMessage, []byte("one too many"))
	c.wantClose(ClosePolicy)
	other.want("still open")
}

func TestPingsAreAnsweredAndLimited(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.ControlFrames = 5 }, nil)
	c := g.connect(t, "user?id=user_7_a")
	pongs := 0
	c.SetPongHandler(func(text string) error {
		if pongs++; text != "hello" {
			t.Errorf("pong %q", text)
		}
		return nil
	})
	for range 6 {
		_ = c.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(time.Second))
	}
	c.wantClose(ClosePolicy)
	if pongs != 5 {
		t.Errorf("%d pongs, want 5", pongs)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	var b bucket
	for i := range 6 {
		if !b.take(0, 6) {
			t.Fatalf("refused number %d", i+1)
		}
	}
	if b.take(9*time.Second, 6) || !b.take(11*time.Second, 6) || b.take(11*time.Second, 6) {
		t.Error("not one more after ten seconds")
	}
	for i := range 6 {
		if !b.take(time.Hour, 6) {
			t.Errorf("refused number %d an hour later", i+1)
		}
	}
	if b.take(time.Hour, 6) {
		t.Error("an hour of silence allows a burst of more than a minute's worth")
	}
}

func TestLargeFramesClose(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		g := newGateway(t, nil, listen)
		one := g.connect(t, "user?id=user_7_a")
		_ = one.WriteMessage(websocket.BinaryMessage, make([]byte, 4097))
		one.wantClose(CloseTooBig)

		// Much more than the server reads before it closes: a reset must not swallow the close frame.
		two := g.connect(t, "user?id=user_7_b")
		go func() { _ = two.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20)) }()
		two.wantClose(CloseTooBig)
		two.Close()

		// In fragments, each of them within the limit.
		three := g.connect(t, "user?id=user_7_c")
		w, err := three.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(make([]byte, 8192))
		_ = w.Close()
		three.wantClose(CloseTooBig)
	})
}

func TestRubbishFrames(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.CloseWait = 100 * time.Millisecond }, nil)
	for name, rubbish := range map[string][]byte{
		"not masked":           {0x81, 0x01, 'x'},
		"reserved bit":         {0xc1, 0x80, 0, 0, 0, 0},
		"unknown opcode":       {0x83, 0x80, 0, 0, 0, 0},
		"fragmented ping":      {0x09, 0x80, 0, 0, 0, 0},
		"stray continuation":   {0x80, 0x80, 0, 0, 0, 0},
		"bad close code":       {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed},
		"ping of 126 bytes":    {0x89, 0xfe, 0, 126, 0, 0, 0, 0},
		"close of 126 bytes":   {0x88, 0xfe, 0, 126, 0, 0, 0, 0},
		"text inside a text":   {0x01, 0x81, 0, 0, 0, 0, 'x', 0x81, 0x81, 0, 0, 0, 0, 'y'},
		"close reason no text": {0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := g.connect(t, "user?id=user_7_"+strings.ReplaceAll(name, " ", "-"))
			_, _ = c.NetConn().Write(rubbish)
			c.wantClose(CloseProtocolError)
		})
	}
	t.Run("negative length", func(t *testing.T) {
		t.Parallel()
		c := g.connect(t, "user?id=user_7_negative")
		_, _ = c.NetConn().Write([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
		c.wantClose(CloseTooBig)
	})
	t.Run("noise", func(t *testing.T) {
		t.Parallel()
		for i := range 50 {
			c := g.connect(t, fmt.Sprint("user?id=user_7_n", i))
			p := make([]byte, 200)
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(p)
			_, _ = c.NetConn().Write(p)
			c.Close()
		}
	})
}

func TestClientCloseIsAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c := g.connect(t, "user?id=user_7_a")
	g.deliver("before", user(7))
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"), time.Now().Add(time.Second))
	c.want("before")
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4321) {
		t.Errorf("answer %v", err)
	}
	dbtest.Eventually(t, "it is gone", func() bool { return g.Len() == 0 })
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"", "id=abc", "id=abc&encoding=json&since=5", "id=%41&id=b", "i%64=a&since=", "id=a;since=1", "&&=&id", "id=a&since=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p, no := parseParams(query)
		if no != nil {
			if no.status != 400 && no.status != 403 || no.text == "" || (params{}) != p {
				t.Errorf("refusal %+v with %+v", no, p)
			}
			return
		}
		if !looksLikeToken(p.token) {
			t.Errorf("token %q", p.token)
		}
		for _, name := range []string{"id", "encoding", "since"} {
			if _, _, err := parameter(query, name); err != nil {
				t.Errorf("%s was accepted though it is malformed: %v", name, err)
			}
		}
		if e, name := negotiate(p, []string{"opentera.json"}, 0); e >= encodings || name != "" && name != "opentera.json" {
			t.Errorf("negotiated %d, %q", e, name)
		}
	})
}
