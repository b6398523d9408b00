package ws

import (
	"context"
	"fmt"
	"testing"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// seenIn takes a snapshot for the number of the first transaction that it does not see.
func seenIn(snapshot string, xid uint64) bool {
	var next uint64
	if _, err := fmt.Sscan(snapshot, &next); err != nil {
		return false
	}
	return xid < next
}

// letIn is a door that stamps user 7 with the snapshot in the token: user_7_100.
var letIn = doorFunc(func(_ context.Context, _ access.Kind, token string) (access.Identity, error) {
	var id access.Identity
	id.Principal = user(7)
	if _, err := fmt.Sscanf(token, "user_7_%s", &id.Snapshot); err != nil {
		return access.Identity{}, access.ErrRefused
	}
	return id, nil
})

// A catch-up may bring a kick after its client has logged in again: who was let in after the kick stays, all others go.
func TestAKickThatComesLateClosesOnlyWhomItMeant(t *testing.T) {
	t.Parallel()
	for name, kick := range map[string]event.Event{
		"command": {Seq: 9, XID: 100, ObjectType: "user", ObjectID: 7, Message: &opentera.ServerCommand{Type: opentera.ServerCommand_CMD_CLIENT_DISCONNECT}},
		"disabled, and enabled since": {Seq: 9, XID: 100, Message: &opentera.DatabaseEvent{Type: opentera.DatabaseEvent_DB_UPDATE,
			ObjectType: "user", ObjectValue: `{"id_user": 7, "user_enabled": false}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(h *Handler) { h.Door = letIn; h.Hub.Sees = seenIn }, nil)
			before, doubtful, after := g.connect(t, "user?id=user_7_100"), g.connect(t, "user?id=user_7_unknown"), g.connect(t, "user?id=user_7_101")
			(&Dispatcher{Hub: g.Hub, Log: quiet(), Metrics: g.metrics}).cutOff(&kick)
			before.wantClose(CloseKicked)
			doubtful.wantClose(CloseKicked)
			g.deliver("still here", user(7))
			after.want("still here")
		})
	}
}

// The same for who is connecting just then.
func TestAKickThatComesLateRefusesOnlyWhomItMeant(t *testing.T) {
	t.Parallel()
	var g *gateway
	g = newGateway(t, func(h *Handler) {
		h.Hub.Sees = seenIn
		h.Door = doorFunc(func(ctx context.Context, kind access.Kind, token string) (access.Identity, error) {
			g.Kick(user(7), 100)
			g.Kick(user(7), 50) // an older one comes later: both count
			return letIn(ctx, kind, token)
		})
	}, nil)
	for _, token := range []string{"user_7_100", "user_7_51", "user_7_unknown"} {
		if r, _ := g.answer(t, "user?id="+token); r.StatusCode != 403 {
			t.Errorf("%s: %d, want 403", token, r.StatusCode)
		}
	}
	g.connect(t, "user?id=user_7_101")
}
