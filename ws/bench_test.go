package ws

import (
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// BenchmarkDeliver delivers one event to n sockets over loopback, and waits for the readers before it stops the clock.
// Both ends are in this process: 9,900 sockets are what 20,000 open files allow.
func BenchmarkDeliver(b *testing.B) {
	for name, listen := range map[string]func(*httptest.Server){"plain": func(*httptest.Server) {}, "tls": overTLS} {
		for _, n := range []int{1, 100, 1000, 9900} {
			if name == "tls" && n > 1000 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				g := newGateway(b, nil, listen)
				to := make([]access.Principal, n)
				frame, err := change(1, "v").Encode(event.Plain, event.Protobuf)
				if err != nil {
					b.Fatal(err)
				}
				length := int64(len(frame) + 2)
				if len(frame) > 125 {
					length += 2
				}
				turns, read := make([]chan struct{}, n), make(chan error, n)
				for i := range to {
					to[i] = user(int32(i))
					c := g.connect(b, fmt.Sprintf("user?id=user_%d_a", i))
					turns[i] = make(chan struct{}, 1024)
					go func() {
						for range turns[i] {
							_, err := io.CopyN(io.Discard, c.NetConn(), length)
							read <- err
						}
					}()
				}
				defer func() {
					for _, turn := range turns {
						close(turn)
					}
				}()
				batch := []event.Event{*change(1, "v", to...)}
				b.ReportAllocs()
				for b.Loop() {
					if sent := g.Dispatch(b.Context(), batch); sent != n {
						b.Fatalf("delivered to %d", sent)
					}
					for _, turn := range turns {
						turn <- struct{}{}
					}
					for range n {
						if err := <-read; err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/frame")
			})
		}
	}
}

// BenchmarkSend measures the cost of one recipient without a reader competing for the CPU, also with an Auditor that discards.
func BenchmarkSend(b *testing.B) {
	for _, isAudited := range []bool{false, true} {
		b.Run(fmt.Sprint("audited=", isAudited), func(b *testing.B) {
			g := newGateway(b, func(h *Handler) {
				if isAudited {
					h.Auditor = deaf{}
				}
			}, nil)
			c := g.connect(b, "user?id=user_1_a")
			g.deliver("open", user(1))
			c.want("open") // the server too has opened the socket
			to := target{conn: g.rooms[user(1)].conns[0], frames: NewFrames(change(2, "v", user(1))), form: event.Plain}
			out := to.conn.out
			out.tryFunc = func(uintptr) bool { out.tried = len(out.try); return true } // a kernel that takes everything
			b.ReportAllocs()
			for b.Loop() {
				g.waiting.add(to)
				if g.sendWaiting() != 1 {
					b.Fatal("not delivered")
				}
			}
		})
	}
}

type deaf struct{}

func (deaf) Trail(access.Identity, uint64, time.Time, string) func(uint64, bool, bool, time.Time) {
	return func(uint64, bool, bool, time.Time) {}
}

// BenchmarkStrangers shows that sockets that may not see an event add no cost.
func BenchmarkStrangers(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := newGateway(b, nil, nil)
			for i := range n {
				p := participant(int32(i))
				g.index.Add(access.NewView(p, []string{p.Tag()}, 0, g.index.Moment()))
			}
			batch := []event.Event{*change(1, "v", user(1), user(2))}
			b.ReportAllocs()
			for b.Loop() {
				g.Dispatch(b.Context(), batch)
			}
		})
	}
}

// BenchmarkLargeEvent measures a 1 MB event from Dispatch to the last byte read.
func BenchmarkLargeEvent(b *testing.B) {
	for name, listen := range map[string]func(*httptest.Server){"plain": func(*httptest.Server) {}, "tls": overTLS} {
		b.Run(name, func(b *testing.B) {
			g := newGateway(b, nil, listen)
			c := g.connect(b, "user?id=user_1_a")
			value := string(make([]byte, 1<<20))
			b.SetBytes(1 << 20)
			for b.Loop() {
				g.deliver(value, user(1))
				if _, r, err := c.NextReader(); err != nil {
					b.Fatal(err)
				} else if _, err = io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
