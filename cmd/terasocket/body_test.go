package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"terasocket/ws"
)

// Neither a request whose body never arrives nor a client that does not read its answer holds a connection for ever.
func TestEveryPartOfARequestHasADeadline(t *testing.T) {
	t.Parallel()
	if s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler)); s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 || s.ConnContext == nil {
		t.Errorf("a part of a request has no deadline: %+v", s)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }), slog.New(slog.DiscardHandler))
	server.ReadTimeout = 200 * time.Millisecond
	running := httptest.NewUnstartedServer(nil)
	_ = running.Listener.Close()
	running.Listener, running.Config = &ws.SocketListener{Listener: listener}, server
	running.Start()
	t.Cleanup(running.Close)
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "POST /api/device/status HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the connection stays open: %v", err)
	}
}
