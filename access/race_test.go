package access_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// Two hundred concurrent logins of twenty principals on two gateways, and their connections: every token works once, only for its owner,
// and never after 60 s.
func TestTwoHundredLogInAtOnce(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d := gateways[0]
	// ten users and ten participants; all have the demo's password
	d.do("UPDATE t_users SET user_username = 'race' || id_user, user_enabled = true WHERE id_user BETWEEN 3 AND 12 AND deleted_at IS NULL")
	d.do(`UPDATE t_participants SET participant_username = 'race' || id_participant, participant_enabled = true, participant_login_enabled = true, deleted_at = NULL,
		participant_password = (SELECT user_password FROM t_users WHERE id_user = 9) WHERE id_participant BETWEEN 1 AND 10`)
	users := asked[[]int32](d, "SELECT array_agg(id_user ORDER BY id_user) FROM t_users WHERE user_username LIKE 'race%'")
	if len(users) < 9 {
		t.Fatalf("only %d users", len(users))
	}
	people := make([]access.Principal, 0, 20)
	for _, id := range users {
		people = append(people, access.Principal{Kind: access.User, ID: id})
	}
	for id := int32(1); len(people) < 20; id++ {
		if id > 10 { // no user 6: one more participant
			break
		}
		people = append(people, access.Principal{Kind: access.Participant, ID: id})
	}
	type minted struct {
		owner access.Principal
		token string
	}
	var mu sync.Mutex
	var tokens []minted
	var all sync.WaitGroup
	logins := dbtest.Many(200, 60)
	for i := range logins {
		all.Go(func() {
			g, p := gateways[i%2], people[i%len(people)]
			var id access.Identity
			err := access.ErrBusy
			for errors.Is(err, access.ErrBusy) {
				if id, err = g.byPassword(p.Kind, fmt.Sprint("race", p.ID), "terasocket-demo"); errors.Is(err, access.ErrBusy) {
					time.Sleep(time.Millisecond)
				}
			}
			if err != nil || id.Principal != p {
				t.Errorf("%s: logged in as %s, %v", p, id.Principal, err)
				return
			}
			token, err := (&access.Tokens{Pool: g.pool}).Create(t.Context(), id.Kind, id.UUID)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			tokens = append(tokens, minted{p, token})
		})
	}
	all.Wait()
	if len(tokens) != logins {
		t.Fatalf("%d tokens", len(tokens))
	}
	// by the test's clock half of the tokens are 60 s old and the others new, however long this has taken
	for i, m := range tokens {
		age := "60 seconds"
		if i%2 == 1 {
			age = "-1 hour"
		}
		d.do("UPDATE terasocket.connect_tokens SET expires_at = expires_at - $2::text::interval WHERE hash = sha256(convert_to($1, 'UTF8'))", m.token, age)
	}
	won := make([]int, len(tokens))
	for i, m := range tokens {
		for attempt := range 4 {
			all.Go(func() {
				door := &access.Tokens{Pool: gateways[attempt%2].pool}
				for _, kind := range access.Kinds {
					id, err := door.Redeem(t.Context(), kind, m.token)
					switch {
					case errors.Is(err, access.ErrRefused):
						continue
					case err != nil:
						t.Error(err)
						continue
					case id.Principal != m.owner:
						t.Errorf("a token of %s opens %s", m.owner, id.Principal)
					}
					mu.Lock()
					won[i]++
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	for i, n := range won {
		if i%2 == 0 && n != 0 {
			t.Errorf("token %d opens %d times after 60 s", i, n)
		}
		if i%2 == 1 && n != 1 {
			t.Errorf("token %d opens %d times", i, n)
		}
	}
}
