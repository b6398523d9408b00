package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/api"
	"terasocket/cmd/terasocket/gatewaytest"
	pb "terasocket/proto/opentera"
)

// client behaves as we tell people to write one: it reconnects after every loss, with since= the seq of its last frame. It
// keeps everything that it receives.
type client struct {
	kind  access.Kind
	id    int
	uuid  string
	json  bool
	since bool // passes since=0 on its first connect
	rng   *rand.Rand

	lastMark atomic.Int64 // number of the last sentinel received
	pausing  atomic.Int64 // it does not read until then, Unix nanoseconds

	mu      sync.Mutex
	current *websocket.Conn // nil: not connected

	visits []visit
}

// visit is one connection of a client.
type visit struct {
	gateway *process
	since   uint64
	opened  time.Time
	frames  []frameHeard
	end     string
}

type frameHeard struct {
	seq  uint64
	what string
	at   time.Time
}

func (c *client) String() string { return fmt.Sprintf("%s %d", c.kind, c.id) }

// story describes its latest visits. The caller holds mu.
func (c *client) story() string {
	var s strings.Builder
	for i, v := range c.visits[max(0, len(c.visits)-4):] {
		fmt.Fprintf(&s, "\n    %d: %s at %s since=%d, %d frames", i, v.gateway, stamp(v.opened), v.since, len(v.frames))
		if n := len(v.frames); n > 0 {
			fmt.Fprintf(&s, ", %d..%d at %s", v.frames[0].seq, v.frames[n-1].seq, stamp(v.frames[n-1].at))
		}
		s.WriteString(" " + v.end)
	}
	return s.String()
}

// pingLimit is when a client gives up on a gateway, which should ping it every 10 s.
const pingLimit = 2 * time.Minute

// run stays connected until ctx ends.
func (c *client) run(ctx context.Context, tokens *pgxpool.Pool, gateways *cluster) {
	var last uint64
	for ctx.Err() == nil {
		process, conn, err := c.connect(ctx, tokens, gateways, last)
		if err != nil {
			gateways.refused.Add(1)
			sleepFor(ctx, time.Duration(20+c.rng.IntN(300))*time.Millisecond)
			continue
		}
		c.mu.Lock()
		c.visits = append(c.visits, visit{gateway: process, since: last, opened: time.Now()})
		c.mu.Unlock()
		last = c.read(conn, last)
		c.setConn(nil)
		_ = conn.Close()
		sleepFor(ctx, time.Duration(c.rng.IntN(200))*time.Millisecond)
	}
}

func (c *client) setConn(conn *websocket.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = conn
}

// cut closes its connection without a close frame; if rude, with a reset.
func (c *client) cut(rude bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return
	}
	raw := gatewaytest.Raw(c.current)
	if rude {
		_ = raw.SetLinger(0)
	}
	_ = raw.Close()
}

var errNoGateway = errors.New("no gateway is up")

func (c *client) connect(ctx context.Context, tokens *pgxpool.Pool, gateways *cluster, last uint64) (*process, *websocket.Conn, error) {
	p := gateways.pick(c.rng)
	if p == nil {
		return nil, nil, errNoGateway
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var token string
	var minted time.Time // by the clock of PostgreSQL
	crashes := gateways.crashes.Load()
	if err := tokens.QueryRow(ctx, "SELECT terasocket.create_connect_token($1, $2), clock_timestamp()", c.kind.String(), c.uuid).Scan(&token, &minted); err != nil {
		return nil, nil, err
	}
	url := api.WebsocketURL(p.URL, c.kind, token)
	if c.json {
		url += "&encoding=json"
	}
	if last > 0 || c.since || c.json {
		url += fmt.Sprintf("&since=%d", last)
	}
	conn, response, err := gatewaytest.Dial(ctx, url)
	if err != nil {
		hasCrashed := crashes%2 == 1 || crashes != gateways.crashes.Load()
		if response != nil && response.StatusCode != http.StatusServiceUnavailable &&
			!(response.StatusCode == http.StatusForbidden && (hasCrashed || areVoid(ctx, tokens, minted))) {
			gateways.odd(fmt.Sprintf("handshake answered %s", response.Status))
		}
		return nil, nil, err
	}
	if p.isGone() { // and this may be another gateway on the same port
		_ = conn.Close()
		return nil, nil, errNoGateway
	}
	_ = gatewaytest.Raw(conn).SetReadBuffer(16 << 10) // so that a client that does not read is soon noticed
	c.setConn(conn)
	return p, conn, nil
}

// areVoid reports whether connect tokens minted at that time may be void: a crash of PostgreSQL empties their unlogged table, and a
// restart that no gateway has lived through voids those from before the new epoch (migrations/functions/epochs.sql).
func areVoid(ctx context.Context, pool *pgxpool.Pool, minted time.Time) (yes bool) {
	err := pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM terasocket.epochs WHERE at > $1)", minted).Scan(&yes)
	return yes || err != nil // it is down once more
}

// read reads until the connection ends, and returns the seq to resume from.
func (c *client) read(conn *websocket.Conn, last uint64) uint64 {
	v := &c.visits[len(c.visits)-1]
	extend := func() { _ = conn.SetReadDeadline(time.Now().Add(pingLimit)) }
	ping := conn.PingHandler()
	conn.SetPingHandler(func(data string) error { extend(); return ping(data) })
	extend()
	for {
		if until := time.Unix(0, c.pausing.Load()); time.Now().Before(until) {
			time.Sleep(time.Until(until))
			extend()
		}
		kind, data, err := conn.ReadMessage()
		if err != nil {
			v.end = ending(err)
			return last
		}
		seq, what, err := parseHeard(kind, data)
		if err != nil {
			v.end = "a malformed frame: " + err.Error()
			return last
		}
		c.mu.Lock() // story reads it
		v.frames = append(v.frames, frameHeard{seq, what, time.Now()})
		c.mu.Unlock()
		last = seq
		if _, mark, ok := strings.Cut(what, " sentinel-"); ok {
			var n int64
			if _, err := fmt.Sscan(mark, &n); err == nil {
				c.lastMark.Store(n)
			}
		}
	}
}

// ending returns the close code, or says that there was none.
func ending(err error) string {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return fmt.Sprintf("code %d", closed.Code)
	}
	return "lost"
}

// parseHeard returns the seq of a frame, and its content in the form that the proof uses.
func parseHeard(kind int, data []byte) (seq uint64, what string, err error) {
	e, err := gatewaytest.Parse(kind, data)
	if err == nil && e.Seq == 0 {
		err = errors.New("it has no seq")
	}
	if err != nil {
		return 0, "", err
	}
	switch m := e.Message.(type) {
	case *pb.DatabaseEvent:
		what, err = heardChange(m)
	case *pb.ArchiveEvent:
		what = "M archive " + m.GetOwnerUuid() + " " + m.GetArchiveUrl()
	case *pb.UserEvent:
		what = m.GetType().String() + " " + m.GetUserUuid()
	case *pb.ParticipantEvent:
		what = m.GetType().String() + " " + m.GetParticipantUuid()
	case *pb.DeviceEvent:
		what = m.GetType().String() + " " + m.GetDeviceUuid()
	default:
		what = string(m.ProtoReflect().Descriptor().Name())
	}
	return e.Seq, what, err
}

func heardChange(m *pb.DatabaseEvent) (string, error) {
	var value map[string]any
	if err := json.Unmarshal([]byte(m.GetObjectValue()), &value); err != nil {
		return "", err
	}
	name := value[nameKey(m.GetObjectType())]
	if name == nil {
		name = ""
	}
	return fmt.Sprintf("%s %s %v %v", m.GetType().String()[3:4], m.GetObjectType(), int(value["id_"+m.GetObjectType()].(float64)), name), nil
}

// nameKey returns the column of an object that holds the number of a change.
func nameKey(objectType string) string {
	if objectType == "user" {
		return "user_firstname"
	}
	return objectType + "_name"
}

func sleepFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
