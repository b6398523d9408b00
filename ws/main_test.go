package ws

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(crowdEnv); addr != "" { // the clients of the benchmark, in their own process
		os.Exit(crowd(addr))
	}
	goleak.VerifyTestMain(m)
}

type redeemFunc func(context.Context, access.Kind, string) (access.Identity, error)

func (f redeemFunc) Redeem(ctx context.Context, k access.Kind, token string) (access.Identity, error) {
	return f(ctx, k, token)
}

// source is a Source fed by the test.
type source struct {
	begin func(ctx context.Context) (event.Beginning, error)
	next  func(ctx context.Context) ([]event.Event, error)
}

func (s source) Begin(ctx context.Context) (event.Beginning, error) { return s.begin(ctx) }
func (s source) Next(ctx context.Context) ([]event.Event, error)    { return s.next(ctx) }

type standingFunc func(context.Context, access.Principal) (access.Standing, error)

func (f standingFunc) Standing(ctx context.Context, p access.Principal) (access.Standing, error) {
	return f(ctx, p)
}

// epoch is that of all logs in these tests.
const epoch = 1

// upToDate is a database whose log is at the hub's position. Each principal holds its own tag and the tags given to it.
type upToDate struct {
	mu   sync.Mutex
	hub  *Hub
	tags map[access.Principal][]string
}

func (u *upToDate) Standing(_ context.Context, p access.Principal) (access.Standing, error) {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	return access.Standing{Epoch: epoch, Seq: u.hub.last, Tags: append([]string{p.Tag()}, u.tags[p]...)}, nil
}

// newHub returns a hub that has begun; without standings, its database is upToDate.
func newHub(standings Standings, m *Metrics) *Hub {
	all := &upToDate{tags: map[access.Principal][]string{}}
	if standings == nil {
		standings = all
	}
	all.hub = NewHub(standings, quiet(), m)
	all.hub.begin(event.Beginning{Epoch: epoch})
	return all.hub
}

// tokens redeems tokens and counts: the token "user_7_a" is good once, for user 7.
type tokens struct {
	mu   sync.Mutex
	used map[string]bool
	asks int
}

func (d *tokens) Redeem(_ context.Context, kind access.Kind, token string) (access.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks++
	parts := strings.Split(token, "_")
	var id int32
	if len(parts) != 3 || parts[0] != kind.String() || d.used[token] {
		return access.Identity{}, access.ErrRefused
	}
	if _, err := fmt.Sscan(parts[1], &id); err != nil {
		return access.Identity{}, access.ErrRefused
	}
	d.used[token] = true
	return access.Identity{Principal: access.Principal{Kind: kind, ID: id}, Token: int64(d.asks)}, nil
}

func (d *tokens) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asks
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// gateway is a Handler on loopback, with an Outbox under every connection.
type gateway struct {
	*Hub
	door    *tokens
	metrics *Metrics
	base    string // ws://host:port
	tls     *tls.Config
	served  *httptest.Server

	mu  sync.Mutex
	seq uint64 // last dispatched
}

func newGateway(t testing.TB, change func(*Handler), listen func(*httptest.Server)) *gateway {
	t.Helper()
	m := NewMetrics(nil)
	g := &gateway{Hub: newHub(nil, m), metrics: m, door: &tokens{used: map[string]bool{}}}
	h := Handler{Tokens: g.door, Hub: g.Hub, Log: quiet(), Metrics: m, Replays: &tape{}}
	if change != nil {
		change(&h)
	}
	g.Hub = h.Hub
	router := chi.NewRouter()
	h.Routes(router)
	g.served = httptest.NewUnstartedServer(router)
	g.served.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.served.Listener = &SocketListener{Listener: g.served.Listener}
	if listen != nil {
		listen(g.served)
	}
	if g.served.TLS != nil {
		g.served.StartTLS()
		g.tls = g.served.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		g.served.Start()
	}
	g.base = "ws" + strings.TrimPrefix(g.served.URL, "http")
	t.Cleanup(func() {
		g.served.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Drain(ctx, 0)
	})
	return g
}

// plainAndTLS runs a test with a gateway that listens without TLS, and with.
func plainAndTLS(t *testing.T, test func(t *testing.T, listen func(*httptest.Server))) {
	t.Parallel()
	for name, listen := range map[string]func(*httptest.Server){"plain": func(*httptest.Server) {}, "tls": overTLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, listen)
		})
	}
}

func overTLS(s *httptest.Server) { s.TLS = &tls.Config{NextProtos: []string{"http/1.1"}} }

type client struct {
	*websocket.Conn
	t testing.TB
}

// connect opens a socket; target is "user?id=user_7_a".
func (g *gateway) connect(t testing.TB, target string) *client {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: g.tls, HandshakeTimeout: 20 * time.Second}
	ws, answer, err := d.Dial(g.base+"/wss/"+target, nil)
	if err != nil {
		status := 0
		if answer != nil {
			status = answer.StatusCode
		}
		t.Fatalf("connect %s: %v (%d)", target, err, status)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{ws, t}
}

// received is a frame as the client got it.
type received struct {
	opcode int
	raw    []byte
	event  *opentera.TeraEvent
}

func (f *received) value() string { // of the DatabaseEvent in it
	m, err := f.event.GetEvents()[0].UnmarshalNew()
	if err != nil {
		return err.Error()
	}
	return m.(*opentera.DatabaseEvent).GetObjectValue()
}

func (c *client) next() *received {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	r, err := c.receive()
	if err != nil {
		c.t.Fatalf("next frame: %v", err)
	}
	return r
}

func (c *client) receive() (*received, error) {
	opcode, raw, err := c.ReadMessage()
	if err != nil {
		return nil, err
	}
	message := new(opentera.TeraMessage)
	if opcode == websocket.BinaryMessage {
		err = proto.Unmarshal(raw, message)
	} else {
		err = protojson.Unmarshal(raw, message)
	}
	if err != nil {
		return nil, fmt.Errorf("frame %.80q: %w", raw, err)
	}
	e := new(opentera.TeraEvent)
	if err := message.GetMessage().UnmarshalTo(e); err != nil {
		return nil, err
	}
	return &received{opcode, raw, e}, nil
}

// want reads events with these object values and no others between them.
func (c *client) want(values ...string) {
	c.t.Helper()
	for _, v := range values {
		if got := c.next().value(); got != v {
			c.t.Fatalf("got event %.80q, want %q", got, v)
		}
	}
}

// wantClose reads until the close frame.
func (c *client) wantClose(code CloseCode) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, int(code)) {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		if text := err.(*websocket.CloseError).Text; code != CloseProtocolError && text != code.Reason() {
			c.t.Fatalf("reason %q, want %q", text, code.Reason())
		}
		return
	}
}

func user(id int32) access.Principal { return access.Principal{Kind: access.User, ID: id} }
func participant(id int32) access.Principal {
	return access.Principal{Kind: access.Participant, ID: id}
}
func device(id int32) access.Principal { return access.Principal{Kind: access.Device, ID: id} }

// keysOf returns routing keys that these principals satisfy.
func keysOf(to ...access.Principal) string {
	tags := make([]string, len(to))
	for i, p := range to {
		tags[i] = p.Tag()
	}
	text, err := json.Marshal([][]string{tags})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// change is a message with a value that tests recognise.
func change(seq uint64, value string, to ...access.Principal) *event.Event {
	e := event.New(seq, time.Now(), "t", &opentera.DatabaseEvent{
		Type: opentera.DatabaseEvent_DB_UPDATE, ObjectType: "site", ObjectValue: value})
	e.Present = keysOf(to...)
	return &e
}

// dispatch hands on the next event of the log.
func (g *gateway) dispatch(e *event.Event) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seq++
	e.Seq = max(e.Seq, g.seq)
	g.seq = e.Seq
	return g.Dispatch(context.Background(), []event.Event{*e})
}

func (g *gateway) deliver(value string, to ...access.Principal) int {
	return g.dispatch(change(0, value, to...))
}

// kick covers all tokens redeemed so far.
func (g *gateway) kick(p access.Principal) {
	g.dispatch(&event.Event{Kind: event.Kick, ObjectType: p.Kind.String(), ObjectID: int64(p.ID), Token: int64(g.door.asked())})
}

func headerKeys(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m struct {
		Message struct{ Header map[string]any }
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m.Message.Header
}

// isEmpty checks that sockets that have ended or were refused have left nothing behind.
func (g *gateway) isEmpty(t *testing.T) {
	t.Helper()
	g.Hub.mu.Lock()
	defer g.Hub.mu.Unlock()
	if principals, tags := g.index.Size(); len(g.conns)+len(g.rooms)+principals+tags+g.arrivals.rooms+len(g.arrivals.rows) != 0 {
		t.Errorf("%d sockets, %d rooms, %d principals with %d tags and %d arrivals are left", len(g.conns), len(g.rooms), principals, tags, g.arrivals.rooms)
	}
}
