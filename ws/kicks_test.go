package ws

import (
	"context"
	"fmt"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// counted redeems "user_7_100" as a token of user 7 with counter 100.
var counted = redeemFunc(func(_ context.Context, _ access.Kind, token string) (access.Identity, error) {
	id := access.Identity{Principal: user(7)}
	if _, err := fmt.Sscanf(token, "user_7_%d", &id.Token); err != nil {
		return access.Identity{}, access.ErrRefused
	}
	return id, nil
})

func kickOf(p access.Principal, token int64) *event.Event {
	return &event.Event{Kind: event.Kick, ObjectType: p.Kind.String(), ObjectID: int64(p.ID), Token: token}
}

// A kick may arrive after its client has logged in again: sockets with later tokens stay, all others are closed.
func TestAKickClosesSocketsOfOlderTokens(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Tokens = counted }, nil)
	before, meant, after := g.connect(t, "user?id=user_7_99"), g.connect(t, "user?id=user_7_100"), g.connect(t, "user?id=user_7_101")
	if n := g.dispatch(kickOf(user(7), 100)); n != 0 {
		t.Errorf("%d sockets kicked", n)
	}
	g.dispatch(kickOf(user(8), 1000))
	before.wantClose(CloseKicked)
	meant.wantClose(CloseKicked)
	g.deliver("still here", user(7))
	after.want("still here")
}

// The same for sockets that are just connecting.
func TestAKickRefusesOlderTokens(t *testing.T) {
	t.Parallel()
	var g *gateway
	g = newGateway(t, func(h *Handler) {
		h.Tokens = redeemFunc(func(ctx context.Context, kind access.Kind, token string) (access.Identity, error) {
			g.dispatch(kickOf(user(7), 100))
			g.dispatch(kickOf(user(7), 50)) // an older kick arrives later: both count
			return counted(ctx, kind, token)
		})
	}, nil)
	for _, token := range []string{"user_7_100", "user_7_51", "user_7_0"} {
		if r, _ := g.answer(t, "user?id="+token); r.StatusCode != 403 {
			t.Errorf("%s: %d, want 403", token, r.StatusCode)
		}
	}
	g.connect(t, "user?id=user_7_101")
}

// A kick older than the position of the look-up still closes older sockets.
func TestAKickBehindTheStandingCounts(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, func(h *Handler) { h.Tokens = counted })
	log.announce(*kickOf(user(7), 100), message("after", keysOf(user(7))))
	old, young := g.connect(t, "user?id=user_7_100"), g.connect(t, "user?id=user_7_101")
	g.play(2)
	old.wantClose(CloseKicked)
	g.tell(message("live", keysOf(user(7))))
	young.want("live")
}

// Kicks are forgotten after a while even without another kick: a ticket of OpenTera's login may have a small counter then.
func TestKicksAreForgotten(t *testing.T) {
	t.Parallel()
	var k kicks
	now := time.Now()
	k.add(user(7), 5, now)
	if !k.covers(user(7), 5, now) || k.covers(user(7), 6, now) || k.covers(user(9), 1, now) {
		t.Error("covers the wrong principal or token")
	}
	if k.covers(user(7), 1, now.Add(kicksKept+1)) {
		t.Error("never forgotten")
	}
	k.add(user(8), 5, now.Add(kicksKept+1))
	if k.covers(user(7), 5, now.Add(kicksKept+1)) || !k.covers(user(8), 5, now.Add(2*kicksKept)) {
		t.Error("another kick revived the first, or was forgotten")
	}
	k.add(user(8), 5, now.Add(3*kicksKept))
	if len(k.recent)+len(k.older) != 2 {
		t.Errorf("never freed: %v", k)
	}
}
