package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	dialing        = 32     // handshakes at once
	perAddress     = 25_000 // connections from one loopback address: below a system's number of ports
	handshakeLimit = 30 * time.Second
	readBytes      = 256 << 10
	waitMillis     = 100 // after this long without data a reader checks whether it should end
)

// Clients are websockets without TLS, read by one goroutine per processor with epoll.
type Clients struct {
	readers []*reader
	mu      sync.Mutex
	opened  int
}

// reader reads some of the sockets.
type reader struct {
	epoll   int
	clients map[int32]*client // by file descriptor

	mu       sync.Mutex
	arrivals []Arrival
	closed   int
	frames   int
	length   int // of the last payload with an event
}

type client struct {
	fd      int
	partial []byte // incomplete frame
}

// NewClients returns Clients without sockets.
func NewClients() (*Clients, error) {
	c := &Clients{}
	for range runtime.GOMAXPROCS(0) {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("epoll: %w", err)
		}
		c.readers = append(c.readers, &reader{epoll: fd, clients: make(map[int32]*client)})
	}
	return c, nil
}

// Connect opens a socket for each target (/wss/...?id=...) at address, a loopback host:port.
func (c *Clients) Connect(ctx context.Context, address string, targets []string) error {
	server, err := netip.ParseAddrPort(address)
	if err != nil || !server.Addr().Is4() {
		return fmt.Errorf("the address %q is none of IPv4 with a port", address)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dialing)
	for _, target := range targets {
		c.mu.Lock()
		number := c.opened
		c.opened++
		c.mu.Unlock()
		group.Go(func() error {
			return c.open(ctx, server, number, target)
		})
	}
	return group.Wait()
}

func (c *Clients) open(ctx context.Context, server netip.AddrPort, number int, target string) error {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + number/perAddress)}), 0)
	fd, rest, err := handshake(ctx, server, from, target)
	if err != nil {
		return fmt.Errorf("connect client %d: %w", number+1, err)
	}
	r := c.readers[number%len(c.readers)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[int32(fd)] = &client{fd: fd, partial: rest}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// handshake opens a websocket from a local address, and returns what followed the 101.
func handshake(ctx context.Context, server, from netip.AddrPort, target string) (fd int, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) }), err)
	}}
	conn, err := dialer.DialContext(ctx, "tcp4", server.String())
	if errors.Is(err, unix.EMFILE) {
		return 0, nil, errors.New("no more open files: raise the limit with ulimit -n")
	}
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(handshakeLimit))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", target, server); err != nil {
		return 0, nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return 0, nil, fmt.Errorf("refused: %s", answer.Status)
	}
	rest, _ = in.Peek(in.Buffered())
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	// a descriptor of our own, outside Go's poller
	if controlErr := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); controlErr != nil {
		return 0, nil, controlErr
	}
	return fd, slices.Clone(rest), err
}

// Run reads until ctx ends.
func (c *Clients) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range c.readers {
		group.Go(func() error { return r.run(ctx) })
	}
	return group.Wait()
}

func (r *reader) run(ctx context.Context) error {
	events, buf := make([]unix.EpollEvent, 256), make([]byte, readBytes)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(r.epoll, events, waitMillis)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		r.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			if c := r.clients[e.Fd]; c != nil && !r.read(c, buf) {
				r.closed++
				delete(r.clients, e.Fd)
				_ = unix.Close(c.fd)
			}
		}
		r.mu.Unlock()
	}
	return nil
}

// read reads what is available, and reports whether the socket is still open.
func (r *reader) read(c *client, buf []byte) bool {
	n, err := unix.Read(c.fd, buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || n <= 0 {
		return false
	}
	now, b := time.Now(), buf[:n]
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		b = c.partial
	}
	for {
		opcode, payload, rest, isWhole, err := nextFrame(b)
		if err != nil {
			return false
		}
		if !isWhole {
			break
		}
		b = rest
		switch opcode {
		case opClose:
			return false
		case opPing:
			if _, err := unix.Write(c.fd, pong(payload)); err != nil {
				return false
			}
		default:
			r.frames++
			if number, ok := eventOf(payload); ok {
				r.arrivals = append(r.arrivals, Arrival{number, now})
				r.length = len(payload)
			}
		}
	}
	c.partial = append(c.partial[:0], b...)
	if len(b) == 0 {
		c.partial = nil
	}
	return true
}

// Count returns how many sockets are open, how many the server closed, and how many data frames have arrived.
func (c *Clients) Count() (open, closed, frames int) {
	for _, r := range c.readers {
		r.mu.Lock()
		open, closed, frames = open+len(r.clients), closed+r.closed, frames+r.frames
		r.mu.Unlock()
	}
	return open, closed, frames
}

// FrameBytes returns the length of the last payload with an event.
func (c *Clients) FrameBytes() (n int) {
	for _, r := range c.readers {
		r.mu.Lock()
		n = max(n, r.length)
		r.mu.Unlock()
	}
	return n
}

// Arrivals returns and clears what has arrived.
func (c *Clients) Arrivals() []Arrival {
	var all []Arrival
	for _, r := range c.readers {
		r.mu.Lock()
		all = append(all, r.arrivals...)
		r.arrivals = nil
		r.mu.Unlock()
	}
	return all
}

// Close closes all sockets, after Run.
func (c *Clients) Close() {
	for _, r := range c.readers {
		for _, client := range r.clients {
			_ = unix.Close(client.fd)
		}
		_ = unix.Close(r.epoll)
	}
}
