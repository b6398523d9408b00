package ws

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"terasocket/access"
)

// The clients of BenchmarkIdleConnection run in their own process, so that their memory is not counted.
const crowdEnv = "TERASOCKET_WS_CROWD" // plain|tls,host:port

const crowdSize = 10_000

// crowd connects, prints "ready" and stays until its standard input ends.
func crowd(target string) int {
	kind, addr, _ := strings.Cut(target, ",")
	conns := make([]net.Conn, crowdSize)
	errs := make(chan error)
	for w := range 8 {
		go func() {
			for i := w; i < crowdSize; i += 8 {
				c, err := net.Dial("tcp", addr)
				if err == nil && kind == "tls" {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				if err == nil {
					_, err = fmt.Fprintf(c, "GET /wss/user?id=user_%d_a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", i)
				}
				if err == nil {
					var r *http.Response
					if r, err = http.ReadResponse(bufio.NewReaderSize(c, 512), nil); err == nil && r.StatusCode != 101 {
						err = fmt.Errorf("status %d", r.StatusCode)
					}
				}
				if err != nil {
					errs <- err
					return
				}
				if _, err := c.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}); err != nil { // a pong, so that the socket has been read from
					errs <- err
					return
				}
				conns[i] = c
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return 0
}

// BenchmarkIdleConnection measures memory, not time: bytes/conn is heap and stacks in use. Run it with -benchtime=1x.
func BenchmarkIdleConnection(b *testing.B) {
	for name, listen := range map[string]func(*httptest.Server){"plain": func(*httptest.Server) {}, "tls": overTLS} {
		b.Run(name, func(b *testing.B) {
			var perConn, stack float64
			for b.Loop() {
				perConn, stack = idleMemory(b, name, listen)
			}
			b.ReportMetric(perConn, "bytes/conn")
			b.ReportMetric(stack, "stack-bytes/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func idleMemory(b *testing.B, name string, listen func(*httptest.Server)) (perConn, stack float64) {
	g := newGateway(b, func(h *Handler) {
		h.Limits.PongWait = time.Hour // connecting them may take a minute
		h.Tokens = redeemFunc(func(_ context.Context, kind access.Kind, token string) (access.Identity, error) {
			id := access.Identity{Principal: access.Principal{Kind: kind}}
			_, err := fmt.Sscanf(token, "user_%d_a", &id.ID)
			return id, err
		})
	}, listen)
	before := inUse()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	clients := exec.CommandContext(ctx, os.Args[0])
	clients.Env = append(os.Environ(), crowdEnv+"="+name+","+g.served.Listener.Addr().String())
	in, err := clients.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := clients.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { in.Close(); _ = clients.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("clients: %q %v", line, err)
	}
	if g.Len() != crowdSize {
		b.Fatalf("%d sockets", g.Len())
	}
	after := inUse()
	return float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse) / crowdSize,
		float64(after.StackInuse-before.StackInuse) / crowdSize
}

func inUse() runtime.MemStats {
	debug.FreeOSMemory() // collects as well
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}
