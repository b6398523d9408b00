//go:build unix

package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"terasocket/access"
	"terasocket/db"
	"terasocket/db/opentera"
	"terasocket/proto/event"
)

// A past comes back, in each possible way. A test copies an installation between remember and goOn, puts the copy in its place or
// elsewhere, and calls mustBeAnother with the gateway that finds it there.

// past is an installation with what its clients have received and hold.
type past struct {
	t *testing.T
	g *gateway

	seqs         map[uint64]string // everything that was received
	common       uint64            // a cursor that the copy has too
	token, out   string            // two tokens of a user: one is logged out after the copy
	used, unused string            // connect tokens: one is redeemed after the copy
	release      func()            // allows announcing what was captured before the copy
}

var user = access.Identity{Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}, UUID: opentera.DemoProjectUserUUID}

func users(g *gateway) *access.Users {
	return &access.Users{Pool: g.pool, Passwords: access.NewPasswords(bcrypt.MinCost), Keys: &access.Keys{Pool: g.pool}}
}

// remember creates what the copy will hold. With isCaptured, a message and a kick are captured and not announced yet.
func remember(t *testing.T, g *gateway, isCaptured bool) *past {
	t.Helper()
	p := &past{t: t, g: g, seqs: map[uint64]string{}, release: func() {}}
	t.Cleanup(func() { p.release() })
	g.publish(g.pool, "common 1", "common 2")
	p.hear(g.hear("common 2"))
	p.common = g.seqOf("common 1")
	var err error
	for _, token := range []*string{&p.token, &p.out} {
		if *token, err = users(g).Token(t.Context(), user.ID, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []*string{&p.used, &p.unused} {
		if *token, err = (&access.Tokens{Pool: g.pool}).Create(t.Context(), user.Kind, user.UUID); err != nil {
			t.Fatal(err)
		}
	}
	if isCaptured {
		p.release = g.holdAnnouncements("announcements")
		g.publish(g.pool, "captured")
		g.exec("SELECT terasocket.kick($1)", opentera.DemoOtherProjectUserUUID)
		g.exec("UPDATE t_sites SET site_name = 'captured' WHERE id_site = 1")
	}
	return p
}

// hear records received events. No seq may come twice.
func (p *past) hear(events []event.Event) {
	p.t.Helper()
	for _, e := range events {
		if was, isThere := p.seqs[e.Seq]; isThere {
			p.t.Errorf("seq %d was %q, and is %q", e.Seq, was, mark(e))
		}
		p.seqs[e.Seq] = mark(e)
	}
}

// hearAll receives everything up to and including last.
func (p *past) hearAll(last string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	for isHeard := false; !isHeard || !scan[bool](p.g, "SELECT is_settled AND last_seq = $1 FROM terasocket.announcer", p.g.feed.LastSeen()); {
		events, err := p.g.feed.Next(ctx)
		switch {
		case errors.Is(err, event.ErrBroken):
			p.t.Fatal(err)
		case ctx.Err() != nil:
			p.t.Fatalf("%q did not arrive, or not everything before it", last)
		}
		p.hear(events)
		isHeard = isHeard || slices.Contains(marks(events), last)
	}
}

// goOn is what happens after the copy was taken, and is lost.
func (p *past) goOn() {
	p.t.Helper()
	p.release()
	if _, err := (&access.Tokens{Pool: p.g.pool}).Redeem(p.t.Context(), user.Kind, p.used); err != nil {
		p.t.Fatalf("connect token: %v", err)
	}
	if err := users(p.g).Logout(p.t.Context(), user, p.out); err != nil {
		p.t.Fatal(err)
	}
	p.g.exec("UPDATE t_sites SET site_name = 'lost' WHERE id_site = 2")
	p.g.exec("UPDATE t_users SET user_enabled = false WHERE id_user = $1", opentera.DemoOtherProjectUserID)
	p.g.publish(p.g.pool, "lost 1", "lost 2")
	p.hearAll("lost 2")
	if err := p.isRefused(p.g, p.out); err != nil {
		p.t.Error(err)
	}
}

func (p *past) isRefused(g *gateway, token string) error {
	account, err := users(g).ByToken(p.t.Context(), token)
	if refused := (*access.Refusal)(nil); !errors.As(err, &refused) {
		return fmt.Errorf("a token of the past opens %v, %v", account, err)
	}
	return nil
}

// mustBreak expects the gateway to notice, and gives it new connections.
func (p *past) mustBreak() {
	p.t.Helper()
	p.g.mustBreak()
	p.g.pool.Reset()
}

// mustBeAnother expects that nothing of the past comes back to life with g, which has begun in the copy. isReached: a cursor that the
// copy holds too is accepted.
func (p *past) mustBeAnother(g *gateway, isReached bool) {
	p.t.Helper()
	highest := slices.Max(slices.Collect(maps.Keys(p.seqs)))
	if g.beginning.Seq <= highest {
		p.t.Errorf("it begins at %d, at or below seq %d of the past", g.beginning.Seq, highest)
	}
	reason := scan[string](g, "SELECT string_agg(reason, ', ' ORDER BY begin DESC) FROM terasocket.epochs")
	p.t.Logf("epochs: %s", reason)
	for seq, what := range p.seqs {
		if seq > p.common && what != "common 2" {
			g.mustReach("a lost cursor: "+what, seq, false)
		}
	}
	g.mustReach("a cursor of both pasts", p.common, isReached)
	g.mustReach("the new past", g.beginning.Seq, true)
	for _, token := range []string{p.out, p.token} {
		if err := p.isRefused(g, token); err != nil {
			p.t.Error(err)
		}
	}
	for _, token := range []string{p.used, p.unused} {
		if _, err := (&access.Tokens{Pool: g.pool}).Redeem(p.t.Context(), user.Kind, token); !errors.Is(err, access.ErrRefused) {
			p.t.Errorf("a connect token of the past: %v", err)
		}
	}
	token, err := users(g).Token(p.t.Context(), user.ID, time.Hour)
	if err == nil {
		_, err = users(g).ByToken(p.t.Context(), token)
	}
	if err != nil {
		p.t.Errorf("a new token: %v", err)
	}
	if g != p.g {
		g.killListeners() // to find the same epoch again
	}
	g.publish(g.pool, "live 1")
	heard := g.hear("live 1")
	g.publish(g.pool, "live 2")
	heard = append(heard, g.hear("live 2")...)
	p.hear(heard)
	for _, e := range heard {
		if what := mark(e); what != "live 1" && what != "live 2" && e.Kind != event.Object && e.Kind != event.Settled {
			p.t.Errorf("heard %q as live", what)
		}
	}
	if isReached { // everything missed by a client that has received only the first event
		missed := g.missed(p.common, math.MaxInt64)
		if missed[0] != "common 2" || slices.Contains(missed, "lost 1") || !slices.Contains(missed, "live 2") {
			p.t.Errorf("missed %q", missed)
		}
	}
	p.mustRemember(g)
}

// mustRemember compares the memory of announcements with OpenTera's tables.
func (p *past) mustRemember(g *gateway) {
	p.t.Helper()
	wrong := scan[[]string](g, `SELECT array_agg(format('%s %s is %s, told %s', t.object_type, coalesce(n.id, w.id), n.keys, w.keys))
		FROM terasocket.object_types t CROSS JOIN LATERAL (
		     SELECT o.id, terasocket.keys(t.object_type, o.r) AS keys, terasocket.deleted_body(t, o.r) AS gone
		     FROM terasocket.rows(t.object_type, terasocket.all_ids(t.object_type)) o WHERE o.r ->> 'deleted_at' IS NULL
		     EXCEPT SELECT w.id, w.keys, w.gone FROM terasocket.told w WHERE w.object_type = t.object_type) n
		LEFT JOIN terasocket.told w ON w.object_type = t.object_type AND w.id = n.id`)
	wrong = append(wrong, scan[[]string](g, `SELECT array_agg(w.object_type || ' ' || w.id || ' is not there') FROM terasocket.told w
		JOIN terasocket.object_types t USING (object_type)
		WHERE NOT EXISTS (SELECT FROM terasocket.rows(w.object_type, ARRAY[w.id]) o WHERE o.r ->> 'deleted_at' IS NULL)`)...)
	wrong = append(wrong, scan[[]string](g, `SELECT array_agg(d::text) FROM (
		(SELECT k.kind, t.id, t.tag, 'missing' FROM unnest('{user,participant,device}'::text[]) k (kind), LATERAL terasocket.tags_of(k.kind, terasocket.all_ids(k.kind)::integer[]) t
		 EXCEPT SELECT h.kind, h.id, h.tag, 'missing' FROM terasocket.holdings h)
		UNION ALL
		(SELECT h.kind, h.id, h.tag, 'too many' FROM terasocket.holdings h
		 EXCEPT SELECT k.kind, t.id, t.tag, 'too many' FROM unnest('{user,participant,device}'::text[]) k (kind), LATERAL terasocket.tags_of(k.kind, terasocket.all_ids(k.kind)::integer[]) t)) d`)...)
	if len(wrong) > 0 {
		p.t.Errorf("%d differ from the tables: %.500q", len(wrong), wrong)
	}
	if n := scan[int](g, "SELECT count(*) FROM terasocket.told"); n == 0 {
		p.t.Error("nothing is told")
	}
}

// another starts a gateway at this address, as after a restore elsewhere.
func another(t *testing.T, url string) *gateway {
	t.Helper()
	pool, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return begin(t, url, pool, options{poll: 200 * time.Millisecond})
}

// runProgram runs one of PostgreSQL's programs and returns its output.
func runProgram(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := tryProgram(t, path, args...)
	if err != nil {
		t.Fatalf("%s %.300q: %v: %s", path, args, err, out)
	}
	return out
}

func tryProgram(t *testing.T, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
