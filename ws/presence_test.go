package ws

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// presences records arrivals and departures.
type presences struct {
	mu    sync.Mutex
	inHub func(access.Principal) bool
	log   []string
}

func (p *presences) Connected(who access.Principal, clientName, addr string) func(bool) {
	p.note(who, who.String()+" "+clientName+" "+addr)
	return func(onPurpose bool) {
		if onPurpose {
			p.note(who, who.String()+" kicked")
		} else {
			p.note(who, who.String()+" left")
		}
	}
}

func (p *presences) note(who access.Principal, what string) {
	if !p.inHub(who) {
		what += " outside the hub"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, what)
}

func (p *presences) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, ", ")
}

func TestPresenceIsToldOfEachSocket(t *testing.T) {
	t.Parallel()
	p := &presences{}
	var g *gateway
	p.inHub = func(who access.Principal) bool {
		g.Hub.mu.Lock()
		defer g.Hub.mu.Unlock()
		return g.rooms[who] != nil
	}
	g = newGateway(t, func(h *Handler) { h.Presence = p }, nil)
	socket, _, err := websocket.DefaultDialer.Dial(g.base+"/wss/user?id=user_7_a", http.Header{"User-Agent": {"agent"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	mustNote := func(want string) {
		t.Helper()
		dbtest.Eventually(t, want, func() bool { return strings.HasSuffix(p.String(), want) })
	}
	mustNote("user:7 agent 127.0.0.1")
	_ = socket.Close()
	mustNote("user:7 left")

	g.connect(t, "device?id=device_1_a")
	mustNote("device:1 Go-http-client/1.1 127.0.0.1")
	kicked := g.connect(t, "participant?id=participant_2_a")
	mustNote("participant:2 Go-http-client/1.1 127.0.0.1")
	g.kick(participant(2))
	kicked.wantClose(CloseKicked)
	mustNote("participant:2 kicked")
	_, _, _ = websocket.DefaultDialer.Dial(g.base+"/wss/user?id=user_7_a", nil) // refused: not reported
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = g.Drain(ctx, 0) // when it returns, everything has been reported
	want := "user:7 agent 127.0.0.1, user:7 left, device:1 Go-http-client/1.1 127.0.0.1, participant:2 Go-http-client/1.1 127.0.0.1, participant:2 kicked, device:1 left"
	if p.String() != want {
		t.Errorf("told %q\nwant %q", p, want)
	}
}

func TestClientName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ header, agent, want string }{
		{"", "", ""},
		{"OpenTeraPlus", "Qt", "OpenTeraPlus"},
		{"", "Qt", "Qt"},
		{strings.Repeat("é", 150), "", strings.Repeat("é", 100)},
		{"x" + strings.Repeat("é", 150), "", "x" + strings.Repeat("é", 99)}, // cut within a character
		{"a\x00b\xffc", "", "abc"},
	} {
		if got := clientName(http.Header{"X-Client-Name": {test.header}, "User-Agent": {test.agent}}); got != test.want {
			t.Errorf("%q, %q: %q, want %q", test.header, test.agent, got, test.want)
		}
	}
}
