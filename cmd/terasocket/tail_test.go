package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/proto/opentera"
	"terasocket/ws"
)

// visitOfTail is one connection: an event, and a close code; or no socket but this status.
type visitOfTail struct {
	status int
	seq    uint64
	code   ws.CloseCode
}

// theatre is a gateway with a script for each connection.
type theatre struct {
	t       *testing.T
	base    string
	mu      sync.Mutex
	visits  []visitOfTail
	queries []string // of handshakes
	logins  []string // of logins
}

func staged(t *testing.T, visits ...visitOfTail) *theatre {
	s := &theatre{t: t, visits: visits}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.base = strings.Replace(server.URL, "http", "ws", 1)
	return s
}

func (s *theatre) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	visit := s.visits[0]
	if r.URL.Path == "/api/user/login" {
		s.logins = append(s.logins, r.URL.RawQuery)
		if visit.status > 0 {
			s.visits = s.visits[1:]
			w.WriteHeader(visit.status)
			return
		}
		_, _ = fmt.Fprintf(w, `{"websocket_url": "%s/wss/user?id=x"}`, s.base)
		return
	}
	s.visits = s.visits[1:]
	s.queries = append(s.queries, r.URL.RawQuery)
	conn, err := (&websocket.Upgrader{Subprotocols: []string{"opentera.protobuf"}}).Upgrade(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	inner := must(anypb.New(&opentera.UserEvent{UserUuid: fmt.Sprint("event ", visit.seq)}))
	event := must(anypb.New(&opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Seq: &visit.seq}, Events: []*anypb.Any{inner}}))
	_ = conn.WriteMessage(websocket.BinaryMessage, must(proto.Marshal(&opentera.TeraMessage{Message: event})))
	if visit.code != ws.CloseAbnormal {
		_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(int(visit.code), visit.code.Reason()))
		_, _, _ = conn.ReadMessage()
	}
}

func TestTailComesBack(t *testing.T) {
	t.Parallel()
	for _, code := range []ws.CloseCode{ws.CloseRestart, ws.CloseSlow, ws.CloseInternal, ws.CloseAbnormal} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			t.Parallel()
			s := staged(t, visitOfTail{0, 5, code}, visitOfTail{503, 0, 0}, visitOfTail{0, 7, ws.CloseKicked})
			got := command(t.Context(), nil, "tail", "--username", "u", "--password", "p", "--json", s.base)
			if got.code != 1 || !strings.Contains(got.stderr, "4000") || !strings.Contains(got.stdout, "event 5") || !strings.Contains(got.stdout, "event 7") {
				t.Errorf("%+v", got)
			}
			if q := strings.Join(s.queries, " "); q != "id=x&since=0 id=x&since=5" {
				t.Errorf("handshakes: %s", q)
			}
			if q := strings.Join(s.logins, " "); q != "with_websocket=true with_websocket=true&replace=true with_websocket=true&replace=true" {
				t.Errorf("logins: %s", q)
			}
		})
	}
}

func TestTailStaysAway(t *testing.T) {
	t.Parallel()
	for _, visits := range [][]visitOfTail{
		{{0, 5, ws.CloseKicked}}, {{0, 5, ws.ClosePolicy}}, // which the server does not want back
		{{503, 0, 0}},                          // it has not been connected yet
		{{0, 5, ws.CloseRestart}, {401, 0, 0}}, // the password was changed
	} {
		s := staged(t, visits...)
		if got := command(t.Context(), nil, "tail", "--username", "u", "--password", "p", "--json", s.base); got.code != 1 || len(s.visits) > 0 {
			t.Errorf("%v: %+v", visits, got)
		}
	}
}

// A gateway's refusal is printed with what to do.
func TestTailSaysWhatToDoAboutARefusal(t *testing.T) {
	t.Parallel()
	const user = `"User already logged in."`
	for _, test := range []struct {
		status            int
		body, after, want string
	}{
		{403, user, "", "403 Forbidden: User already logged in. --replace closes that one's sockets"},
		{429, `"Too many"`, "7", "429 Too Many Requests: Too many: try again in 7 s"},
		{400, "Client sent an HTTP request to an HTTPS server.\n", "", "it speaks TLS, say wss://"},
		{200, `{"message": "2FA required for this user."}`, "", "2FA required for this user.: tail knows no second step, use --as user:UUID"},
		{418, `"I'm a teapot"`, "", "log in as u: 418 I'm a teapot\n"},
		{418, "{}", "", "418 I'm a teapot: {}"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if test.after != "" {
				w.Header().Set("Retry-After", test.after)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		got := command(t.Context(), nil, "tail", "--username", "u", "--password", "p", server.URL)
		if got.code != 1 || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%+v, want %q", got, test.want)
		}
		if got := command(t.Context(), nil, "tail", "--username", "u", "--password", "p", strings.Replace(server.URL, "http", "wss", 1)); !strings.Contains(got.stderr, "it speaks no TLS, say ws://") {
			t.Errorf("%+v", got)
		}
		server.Close()
	}
}

func TestTailWithoutAGateway(t *testing.T) {
	t.Parallel()
	got := command(t.Context(), nil, "tail", "https://127.0.0.1:1", "--username", "x", "--password", "secret")
	if got.code != 1 || !strings.Contains(got.stderr, "log in: dial tcp 127.0.0.1:1") || strings.Contains(got.stderr, "secret") {
		t.Errorf("%+v", got)
	}
}

// onText calls then when the text is written.
type onText struct {
	text string
	then func()
}

func (o onText) Write(p []byte) (int, error) {
	if strings.Contains(string(p), o.text) {
		o.then()
	}
	return len(p), nil
}

func TestTailEndsWhileItWaits(t *testing.T) {
	t.Parallel()
	s := staged(t, visitOfTail{0, 5, ws.CloseRestart})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	none := func(string) string { return "" }
	if code := run(ctx, []string{"tail", "--username", "u", "--password", "p", s.base}, none, io.Discard, onText{"coming back", cancel}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if ctx.Err() == nil {
		t.Error("tail did not wait to reconnect")
	}
}
