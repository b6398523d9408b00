package ws

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

// answer sends one handshake with changed headers and returns the response; "-" as a value removes a header.
func (g *gateway) answer(t testing.TB, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, g.served.URL+"/wss/"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, headers...)
	for i := 0; i < len(all); i += 2 {
		if all[i] == "method" {
			r.Method = all[i+1]
		} else if r.Header.Set(all[i], all[i+1]); all[i+1] == "-" {
			r.Header.Del(all[i])
		}
	}
	response, err := g.served.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return response, ""
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, strings.TrimSpace(string(text))
}

func TestHandshakeRefusals(t *testing.T) {
	t.Parallel()
	const good, failed = "user?id=user_7_a", "websocket authentication failed"
	for name, tc := range map[string]struct {
		target  string
		headers []string
		status  int
		text    string
		header  string // "Name: value" in the answer
		asks    int    // how often the door is asked
	}{
		"not an upgrade":       {good, []string{"Upgrade", "-", "Connection", "-"}, 426, "Upgrade header missing", "Upgrade: websocket", 0},
		"upgrade to other":     {good, []string{"Upgrade", "h2c"}, 426, "Upgrade header missing", "Upgrade: websocket", 0},
		"a HEAD":               {good, []string{"method", "HEAD"}, 405, "", "Allow: GET", 0},
		"a POST":               {good, []string{"method", "POST"}, 405, "", "Allow: GET", 0},
		"no connection header": {good, []string{"Connection", "keep-alive"}, 400, "Connection: Upgrade", "", 0},
		"no version":           {good, []string{"Sec-WebSocket-Version", "-"}, 400, "must be 13", "Sec-Websocket-Version: 13", 0},
		"wrong version":        {good, []string{"Sec-WebSocket-Version", "8"}, 400, "must be 13", "Sec-Websocket-Version: 13", 0},
		"no key":               {good, []string{"Sec-WebSocket-Key", "-"}, 400, "Sec-WebSocket-Key", "", 0},
		"short key":            {good, []string{"Sec-WebSocket-Key", "AAAA"}, 400, "Sec-WebSocket-Key", "", 0},
		"foreign origin":       {good, []string{"Origin", "https://evil.example"}, 403, "origin not allowed", "", 0},
		"no id":                {"user", nil, 403, failed, "", 0},
		"empty id":             {"user?id=", nil, 403, failed, "", 0},
		"id of other letters":  {"user?id=a%20b", nil, 403, failed, "", 0},
		"id not readable":      {"user?id=%zz", nil, 403, failed, "", 0},
		"id too long":          {"user?id=" + strings.Repeat("a", 129), nil, 403, failed, "", 0},
		"first id is bad":      {"user?id=&id=user_7_a", nil, 403, failed, "", 0},
		"bad encoding":         {good + "&encoding=xml", nil, 400, "encoding is protobuf or json", "", 0},
		"empty encoding":       {good + "&encoding=", nil, 400, "encoding is protobuf or json", "", 0},
		"negative since":       {good + "&since=-1", nil, 400, "since is", "", 0},
		"since too large":      {good + "&since=18446744073709551616", nil, 400, "since is", "", 0},
		"since not readable":   {good + "&since=%zz", nil, 400, "since is", "", 0},
		"first since is bad":   {good + "&since=x&since=1", nil, 400, "since is", "", 0},
		"no presence":          {good + "&snapshot=1", nil, 400, "this gateway has no presence", "", 0},
		"bad snapshot":         {good + "&snapshot=yes", nil, 400, "snapshot is 1 or 0", "", 0},
		"empty snapshot":       {good + "&snapshot=", nil, 400, "snapshot is 1 or 0", "", 0},
		"snapshot unreadable":  {good + "&snapshot=%zz", nil, 400, "snapshot is 1 or 0", "", 0},
		"unknown token":        {"user?id=user_7", nil, 403, failed, "", 1},
		"wrong kind":           {"participant?id=user_7_a", nil, 403, failed, "", 1},
		"no such kind":         {"service?id=user_7_a", nil, 404, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(h *Handler) { h.AllowedOrigins = []string{"https://clinic.example/"} }, nil)
			r, text := g.answer(t, tc.target, tc.headers...)
			if r.StatusCode != tc.status || !strings.Contains(text, tc.text) {
				t.Errorf("%d %q, want %d %q", r.StatusCode, text, tc.status, tc.text)
			}
			if tc.text == failed && text != failed {
				t.Errorf("%q differs from other refusals", text)
			}
			if name, value, ok := strings.Cut(tc.header, ": "); ok && r.Header.Get(name) != value {
				t.Errorf("header %s is %q, want %q", name, r.Header.Get(name), value)
			}
			if n := g.door.asked(); n != tc.asks {
				t.Errorf("the door was asked %d times, want %d", n, tc.asks)
			}
			if g.Len() != 0 {
				t.Error("a socket was added")
			}
			// Whatever was refused, it must not have used up the token, which is good once.
			g.connect(t, "user?id=user_7_a")
			if r, text := g.answer(t, good); r.StatusCode != 403 || text != failed {
				t.Errorf("second use: %d %q", r.StatusCode, text)
			}
		})
	}
}

func TestHandshakeOldHTTP(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c, err := net.Dial("tcp", g.served.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /wss/user?id=user_7_a HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 400 || g.door.asked() != 0 {
		t.Errorf("%d, door asked %d times", r.StatusCode, g.door.asked())
	}
}

func TestHandshakeNotReady(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	g := newGateway(t, func(h *Handler) { h.Ready = ready.Load }, nil)
	refused := func(when string) {
		t.Helper()
		r, _ := g.answer(t, "user?id=user_7_b")
		if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || g.door.asked() != 0 {
			t.Errorf("%s: %d, Retry-After %q, door asked %d times", when, r.StatusCode, r.Header.Get("Retry-After"), g.door.asked())
		}
	}
	refused("not ready")
	ready.Store(true)
	if err := g.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	refused("draining")
	if err := g.Drain(t.Context(), 0); err != nil {
		t.Errorf("second drain: %v", err)
	}
}

func TestHandshakeDoorFails(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Failures = FailureLimit{PerMinute: 1, Burst: 1}
		h.Tokens = redeemFunc(func(ctx context.Context, _ access.Kind, _ string) (access.Identity, error) {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the redemption has no deadline")
			}
			return access.Identity{}, errors.New("no database")
		})
	}, nil)
	for range 3 { // nor does it count as a failure of the client
		if r, text := g.answer(t, "user?id=user_7_a"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || strings.Contains(text, "database") {
			t.Errorf("%d %q", r.StatusCode, text)
		}
	}
}

func TestHandshakeKickedMeanwhile(t *testing.T) {
	t.Parallel()
	var g *gateway
	g = newGateway(t, func(h *Handler) {
		h.Tokens = redeemFunc(func(_ context.Context, _ access.Kind, token string) (access.Identity, error) {
			if token == "late" {
				g.dispatch(&event.Event{Kind: event.Kick, ObjectType: "user", ObjectID: 7, Token: 5})
				return access.Identity{Principal: user(7), Token: 5}, nil
			}
			return access.Identity{Principal: user(7), Token: 6}, nil
		})
	}, nil)
	if r, _ := g.answer(t, "user?id=late"); r.StatusCode != 403 || g.Len() != 0 {
		t.Errorf("%d, %d sockets", r.StatusCode, g.Len())
	}
	g.connect(t, "user?id=again")
}

func TestHandshakeFailureLimit(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Failures = FailureLimit{PerMinute: 2, Burst: 3}
		h.ClientAddr = func(r *http.Request) string { return r.Header.Get("From") }
	}, nil)
	for i := range 5 { // successes do not count
		g.connect(t, fmt.Sprintf("user?id=user_7_%d", i))
		if r, _ := g.answer(t, fmt.Sprintf("user?id=user_7_x%d", i), "From", "10.0.0.1"); r.StatusCode != 101 {
			t.Fatalf("good token: %d", r.StatusCode)
		}
	}
	for i := range 3 {
		if r, _ := g.answer(t, []string{"user?id=bad", "user?id=%20", "user"}[i], "From", "10.0.0.1"); r.StatusCode != 403 {
			t.Fatalf("failure %d: %d", i, r.StatusCode)
		}
	}
	r, _ := g.answer(t, "user?id=user_7_last", "From", "10.0.0.1")
	if r.StatusCode != 429 || r.Header.Get("Retry-After") != "30" {
		t.Errorf("%d, Retry-After %q, want 429 and 30", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if r, _ := g.answer(t, "user?id=user_7_last", "From", "10.0.0.2"); r.StatusCode != 101 {
		t.Errorf("another address: %d", r.StatusCode)
	}
	for range 5 { // address not known
		if r, _ := g.answer(t, "user?id=bad"); r.StatusCode != 403 {
			t.Errorf("unknown address: %d", r.StatusCode)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	f, now := newFailures(FailureLimit{PerMinute: 1, Burst: 1, Addresses: 2}), time.Now()
	limited := func(addr string) bool { _, yes := f.tooMany(addr, now); return yes }
	f.add("2001:db8::1", now)
	if !limited("2001:db8::ffff") || limited("2001:db8:0:1::1") {
		t.Error("IPv6 is not limited by /64")
	}
	f.add("10.0.0.1", now)
	f.add("10.0.0.1", now)
	f.add("10.0.0.2", now)
	if len(f.byAddr) != 2 || f.recent.Len() != 2 || limited("2001:db8::1") || !limited("10.0.0.1") || !limited("10.0.0.2") {
		t.Errorf("remembered: %v", f.byAddr)
	}
	if now = now.Add(61 * time.Second); limited("10.0.0.2") {
		t.Error("limited for ever")
	}
}

func TestEncodingOfASocket(t *testing.T) {
	t.Parallel()
	const binary, text = websocket.BinaryMessage, websocket.TextMessage
	for name, tc := range map[string]struct {
		query     string
		offered   []string
		byDefault event.Encoding
		opcode    int
		seq       bool
		confirmed string
	}{
		"nothing asked":            {"", nil, event.Protobuf, binary, true, ""},
		"json by default":          {"", nil, event.JSON, text, false, ""},
		"json by query":            {"&encoding=json", nil, event.Protobuf, text, false, ""},
		"protobuf by query":        {"&encoding=protobuf", nil, event.JSON, binary, true, ""},
		"first of repeated":        {"&encoding=json&encoding=xml", nil, event.Protobuf, text, false, ""},
		"json with cursor":         {"&encoding=json&since=0", nil, event.Protobuf, text, true, ""},
		"default json with cursor": {"&since=18446744073709551615", nil, event.JSON, text, true, ""},
		"protobuf with cursor":     {"&since=12", nil, event.Protobuf, binary, true, ""},
		"unknown parameters":       {"&x=%zz&encodin=json&;", nil, event.Protobuf, binary, true, ""},
		"json by subprotocol":      {"", []string{"opentera.json"}, event.Protobuf, text, false, "opentera.json"},
		"protobuf by subprotocol":  {"", []string{"opentera.protobuf"}, event.JSON, binary, true, "opentera.protobuf"},
		"the client's preference":  {"", []string{"x", "opentera.json", "opentera.protobuf"}, event.Protobuf, text, false, "opentera.json"},
		"unknown subprotocol":      {"", []string{"json"}, event.Protobuf, binary, true, ""},
		"query over subprotocol":   {"&encoding=protobuf", []string{"opentera.json"}, event.JSON, binary, true, ""},
		"query and both offered":   {"&encoding=protobuf", []string{"opentera.json", "opentera.protobuf"}, event.JSON, binary, true, "opentera.protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(h *Handler) { h.DefaultEncoding = tc.byDefault }, nil)
			d := websocket.Dialer{Subprotocols: tc.offered}
			ws, _, err := d.Dial(g.base+"/wss/device?id=device_3_a"+tc.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			if ws.Subprotocol() != tc.confirmed {
				t.Errorf("subprotocol %q, want %q", ws.Subprotocol(), tc.confirmed)
			}
			g.dispatch(change(77, "v", device(3)))
			c := &client{ws, t}
			f := c.next()
			for strings.HasPrefix(f.heard(), "cursor ") || strings.HasPrefix(f.heard(), "incomplete ") {
				f = c.next()
			}
			if f.opcode != tc.opcode || f.value() != "v" || (f.event.GetHeader().GetSeq() == 77) != tc.seq {
				t.Errorf("opcode %d, value %q, seq %d", f.opcode, f.value(), f.event.GetHeader().GetSeq())
			}
			if f.opcode == text {
				keys := headerKeys(t, f.raw)
				if _, ok := keys["seq"]; ok != tc.seq || len(f.event.GetEvents()) != 1 {
					t.Errorf("header keys %v", keys)
				}
			}
		})
	}
}

func TestHandshakeWithoutListener(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		g := newGateway(t, nil, func(s *httptest.Server) {
			s.Listener = s.Listener.(*SocketListener).Listener
			listen(s)
		})
		c := g.connect(t, "user?id=user_7_a")
		g.deliver("1", user(7))
		g.deliver("2", user(7))
		c.want("1", "2")
		g.kick(user(7))
		c.wantClose(CloseKicked)
	})
}

func TestHalfOpenHandshakesDoNotLeak(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, func(s *httptest.Server) { s.Config.ReadHeaderTimeout = 50 * time.Millisecond })
	var conns []net.Conn
	for i := range 100 {
		c, err := net.Dial("tcp", g.served.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		fmt.Fprint(c, "GET /wss/user?id=user_7_a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"[:i%60])
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) { // a reset will do
			t.Fatalf("not closed: %v", err)
		}
	}
	if g.Len() != 0 || g.door.asked() != 0 {
		t.Error("half a handshake got somewhere")
	}
}

// Frames dispatched while the 101 is being written follow it.
func TestNothingIsMissedWhileConnecting(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.Backlog = 1 << 30 }, nil) // this test is not about slow clients
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var n atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				g.deliver(fmt.Sprint(n.Add(1)), user(7))
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for i := range 50 {
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d", i))
		after := n.Load() // the next one delivered must arrive
		var got, last int64
		for got <= after {
			_, _ = fmt.Sscan(c.next().value(), &got)
			if last != 0 && got != last+1 || last == 0 && got > after+1 {
				t.Fatalf("event %d after %d; %d had been delivered when the socket was open", got, last, after)
			}
			last = got
		}
		c.Close()
	}
}
