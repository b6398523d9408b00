package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// tcpProxy stands between a gateway and PostgreSQL.
type tcpProxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup
	alone    sync.Mutex    // of disturb
	refused  chan struct{} // holds one when somebody was turned away

	mu    sync.Mutex
	state string // "", cut, half-open, stalled
	awake chan struct{}
	pairs map[*proxyPair]bool
}

type proxyPair struct {
	near, far net.Conn // the gateway's, PostgreSQL's
	silent    bool     // half-open: the gateway does not know that the other end is gone
}

func newTCPProxy(target string) (*tcpProxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &tcpProxy{listener: listener, target: target, pairs: map[*proxyPair]bool{}, awake: make(chan struct{}), refused: make(chan struct{}, 1)}
	p.running.Go(p.accept)
	return p, nil
}

func (p *tcpProxy) Addr() string { return p.listener.Addr().String() }

func (p *tcpProxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(near) })
	}
}

func (p *tcpProxy) serve(near net.Conn) {
	defer func() { _ = near.Close() }()
	pair := &proxyPair{near: near}
	p.mu.Lock()
	if p.state == "cut" {
		p.mu.Unlock()
		select {
		case p.refused <- struct{}{}:
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

func (p *tcpProxy) isSilent(pair *proxyPair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pair.silent
}

// pump copies until an end closes. Of a silent pair, nothing arrives.
func (p *tcpProxy) pump(pair *proxyPair, to, from net.Conn) {
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

func (p *tcpProxy) Cut()      { p.set("cut") }
func (p *tcpProxy) HalfOpen() { p.set("half-open") }
func (p *tcpProxy) Stall()    { p.set("stalled") } // holds everything up
func (p *tcpProxy) Restore()  { p.set("") }

// disturb does this for so long. Faults of one proxy come one after the other: none restores it under another.
func (p *tcpProxy) disturb(ctx context.Context, fault func(), d time.Duration) {
	p.alone.Lock()
	defer p.alone.Unlock()
	fault()
	sleepFor(ctx, d)
	p.Restore()
}

func (p *tcpProxy) set(state string) {
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

func (p *tcpProxy) Close() {
	_ = p.listener.Close()
	p.set("cut")
	p.running.Wait()
}
