package ws

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// handshakeWait bounds the write of the 101.
const handshakeWait = 5 * time.Second

// checkUpgrade refuses a request that is not a websocket handshake. The library checks the same, but only after the token would
// have been redeemed.
func checkUpgrade(r *http.Request) *refusal {
	bad := func(text string) *refusal { return &refusal{http.StatusBadRequest, "malformed", text} }
	switch {
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return &refusal{http.StatusUpgradeRequired, "not_upgrade", "HTTP Upgrade header missing: this is a websocket"}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return bad("a websocket starts with HTTP/1.1")
	case !hasToken(r.Header, "Connection", "upgrade"):
		return bad("Connection: Upgrade is missing (does a proxy remove it?)")
	case !hasToken(r.Header, "Sec-Websocket-Version", "13"):
		return &refusal{http.StatusBadRequest, "version", "Sec-WebSocket-Version must be 13"}
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 {
		return bad("Sec-WebSocket-Key must be 16 bytes in base64")
	}
	return nil
}

// elements splits a header that is a comma-separated list.
func elements(h http.Header, name string) []string {
	all := strings.Split(strings.Join(h.Values(name), ","), ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func hasToken(h http.Header, name, token string) bool {
	return slices.ContainsFunc(elements(h, name), func(s string) bool { return strings.EqualFold(s, token) })
}

// newUpgrader uses small buffers: nothing long is read, and frames are written from where they were prepared.
func newUpgrader(buffers websocket.BufferPool) *websocket.Upgrader {
	return &websocket.Upgrader{
		HandshakeTimeout: handshakeWait,
		ReadBufferSize:   256,
		WriteBufferSize:  256,
		WriteBufferPool:  buffers,
		CheckOrigin:      func(*http.Request) bool { return true }, // checked before
		Error:            func(http.ResponseWriter, *http.Request, int, error) {},
	}
}

// hijacker takes the connection over from net/http and finds the Outbox under it. If there is none, because the server does not
// listen through SocketListener, it adds one on top, which works too, but under TLS every write then wakes a goroutine.
type hijacker struct {
	http.ResponseWriter
	conn *Conn // whose frames are read
	out  *Outbox
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if h.out = outboxOf(c); h.out == nil {
		h.out = NewOutbox(c, 0)
		c = h.out
	}
	return &fragments{Conn: &closing{Conn: c}, seen: h.conn.countFragment}, buffered, nil
}
