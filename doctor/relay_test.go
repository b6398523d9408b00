package doctor

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay forwards bytes between clients and a server. It hangs up after idle without traffic, as proxies do.
type relay struct {
	address string
	idle    time.Duration
	frozen  atomic.Bool // bytes disappear, as if a cable was pulled
}

func newRelay(t *testing.T, target string, idle time.Duration) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: listener.Addr().String(), idle: idle}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			all.Go(func() { r.pass(in, out) })
			all.Go(func() { r.pass(out, in) })
		}
	})
	return r
}

func (r *relay) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 4096)
	for {
		_ = from.SetReadDeadline(time.Now().Add(r.idle))
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if r.frozen.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
