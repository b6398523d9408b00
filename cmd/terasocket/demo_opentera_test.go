package main

import (
	"strings"
	"testing"
)

// The demo beside OpenTera checks itself.
func TestDemoOpenTera(t *testing.T) {
	t.Parallel()
	got := command(t.Context(), nil, "demo-opentera")
	fitsATerminal(t, got.stdout)
	for _, want := range []string{"JoinSessionEvent", "JoinSessionReplyEvent REPLY_BUSY", "her socket: websocket: close 4000: CMD_CLIENT_DISCONNECT",
		"the same ticket again: 403 Forbidden", "DB_UPDATE participant", "knows of both sockets again", "before: 401 Unauthorized\n", "All as expected. "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if got.code != 0 || strings.Contains(got.stdout, "WRONG") || t.Failed() {
		t.Errorf("%d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// The demo fails if something is received too often, too rarely, or in place of something else.
func TestDemoOpenTeraComplains(t *testing.T) {
	t.Parallel()
	wanted := []string{"USER_LEFT_SESSION Ursula", "JoinSessionReplyEvent"}
	for _, test := range []struct {
		heard string
		want  bool
	}{
		{"JoinSessionReplyEvent REPLY_BUSY,USER_LEFT_SESSION Ursula", true},
		{"USER_LEFT_SESSION Ursula,JoinSessionReplyEvent REPLY_BUSY,JoinSessionReplyEvent REPLY_BUSY", false},
		{"USER_LEFT_SESSION Ursula", false},
		{"USER_LEFT_SESSION Ursula,JoinSessionEvent", false},
	} {
		if fits(strings.Split(test.heard, ","), wanted) != test.want {
			t.Errorf("%s: not %t", test.heard, test.want)
		}
	}
	if !fits(nil, nil) || fits([]string{"x"}, nil) {
		t.Error("nothing")
	}
	var out strings.Builder
	s := &demoStage{w: &out}
	s.note("her socket", "stays", false)
	if err := s.outcome(); err == nil || err.Error() != "her socket: stays" || out.String() != "  her socket: stays  <- WRONG\n" {
		t.Errorf("%v, %s", err, &out)
	}
}
