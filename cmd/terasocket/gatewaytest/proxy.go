package gatewaytest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Proxy sits between a gateway and PostgreSQL.
type Proxy struct {
	URL     string        // of the database through the proxy
	Refused chan struct{} // capacity 1: a connection was turned away

	listener net.Listener
	target   string
	running  sync.WaitGroup
	alone    sync.Mutex // held by Disturb

	mu    sync.Mutex
	state string // "", cut, half-open, stalled
	awake chan struct{}
	pairs map[*proxyPair]bool
}

type proxyPair struct {
	near, far net.Conn // the gateway's end, PostgreSQL's end
	silent    bool     // half-open: the gateway does not notice that the other end is gone
}

// NewProxy starts a proxy for a database. It ends with the test.
func NewProxy(t testing.TB, databaseURL string) *Proxy {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Refused: make(chan struct{}, 1), listener: listener, target: u.Host, pairs: map[*proxyPair]bool{}, awake: make(chan struct{})}
	u.Host = listener.Addr().String()
	p.URL = u.String()
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(near) })
	}
}

func (p *Proxy) serve(near net.Conn) {
	defer func() { _ = near.Close() }()
	pair := &proxyPair{near: near}
	p.mu.Lock()
	if p.state == "cut" {
		p.mu.Unlock()
		select {
		case p.Refused <- struct{}{}:
		default:
		}
		return
	}
	pair.silent = p.state == "half-open"
	p.pairs[pair] = true
	p.mu.Unlock()
	defer func() { p.mu.Lock(); delete(p.pairs, pair); p.mu.Unlock() }()
	if far, err := net.Dial("tcp", p.target); err == nil {
		p.mu.Lock()
		pair.far = far
		p.mu.Unlock()
		var back sync.WaitGroup
		back.Go(func() {
			p.pump(pair, near, far)
			if !p.isSilent(pair) {
				_ = near.Close()
			}
		})
		p.pump(pair, far, near)
		_ = far.Close()
		back.Wait()
	}
}

func (p *Proxy) isSilent(pair *proxyPair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pair.silent
}

// pump copies until an end closes. It drops the bytes of a silent pair.
func (p *Proxy) pump(pair *proxyPair, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		state, silent, awake := p.state, pair.silent, p.awake
		p.mu.Unlock()
		if state == "stalled" {
			<-awake
		}
		if n > 0 && !silent {
			if _, err := to.Write(buffer[:n]); err != nil && !p.isSilent(pair) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut closes all connections, and every new one.
func (p *Proxy) Cut() { p.set("cut") }

// HalfOpen lets nothing through, unnoticed by the gateway.
func (p *Proxy) HalfOpen() { p.set("half-open") }

// Stall holds all traffic.
func (p *Proxy) Stall() { p.set("stalled") }

// Restore lets traffic through again, with what was stalled.
func (p *Proxy) Restore() { p.set("") }

// Disturb applies a fault for d, or until ctx ends. Faults of one proxy are serialized, so that none ends another early.
func (p *Proxy) Disturb(ctx context.Context, fault func(), d time.Duration) {
	p.alone.Lock()
	defer p.alone.Unlock()
	fault()
	defer p.Restore()
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *Proxy) set(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	close(p.awake)
	p.awake = make(chan struct{})
	for pair := range p.pairs {
		switch {
		case state == "cut":
			_ = pair.near.Close()
			if pair.far != nil {
				_ = pair.far.Close()
			}
		case state == "half-open":
			pair.silent = true
			if pair.far != nil {
				_ = pair.far.Close()
			}
		}
	}
}
