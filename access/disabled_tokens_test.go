package access_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"terasocket/access"
	"terasocket/db/opentera"
)

// A disabled token is refused on every gateway in every encoding, until it has expired by any clock.
func TestDisabledTokens(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	for kind, who := range dynamic {
		token, kept := gateways[0].tokenOf(kind, who.ID), gateways[0].tokenOf(kind, who.ID)
		if err := gateways[0].disable(kind, token); err != nil {
			t.Fatal(err)
		}
		spellings := []string{token, token + "\n", token[:len(token)-1] + "\n" + token[len(token)-1:], token + "="}
		for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" { // 2 bits of the last character are ignored
			spellings = append(spellings, token[:len(token)-1]+string(last))
		}
		for _, d := range gateways {
			for _, spelling := range spellings {
				_, err := d.byToken(kind, spelling)
				mustRefuse(t, kind.String(), err, invalidToken, "")
			}
			if _, err := d.byToken(kind, kept); err != nil {
				t.Errorf("%s: another token of the same principal: %v", kind, err)
			}
		}
		// disabling it again is refused: of two refreshes with one token, one succeeds
		mustRefuse(t, kind.String()+" disabled again", gateways[1].disable(kind, token), invalidToken, "")
		// not stored in clear
		if n := asked[int](gateways[0], "SELECT count(*) FROM terasocket.disabled_tokens d WHERE d::text LIKE '%' || $1 || '%' OR hash = convert_to($1, 'UTF8')", token); n != 0 {
			t.Errorf("%s: stored in clear", kind)
		}
	}
	d := gateways[0]
	tokens := &access.Tokens{Pool: d.pool}
	d.do("UPDATE terasocket.disabled_tokens SET expires_at = clock_timestamp() - interval '59 minutes'")
	if n, err := tokens.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d while a slow clock may still take it, %v", n, err)
	}
	d.do("UPDATE terasocket.disabled_tokens SET expires_at = clock_timestamp() - interval '61 minutes'")
	if n, err := tokens.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("swept %d, %v; want 2", n, err)
	}

	var first, later atomic.Int32
	token := d.tokenOf(access.User, opentera.DemoProjectUserID)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			switch err := gateways[i%2].disable(access.User, token); {
			case err == nil:
				first.Add(1)
			case errors.Is(err, access.ErrUnauthorized):
				later.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if first.Load() != 1 || later.Load() != 39 {
		t.Errorf("%d refreshes succeed, %d are refused", first.Load(), later.Load())
	}
}

// After a logout nothing the principal holds grants access, except its password and its static token; nobody else is affected.
func TestLogout(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	connects := &access.Tokens{Pool: d.pool}
	static := asked[string](d, "SELECT participant_token FROM t_participants WHERE id_participant = 1")
	device := access.Identity{Principal: access.Principal{Kind: access.Device, ID: opentera.DemoDeviceID}, UUID: opentera.DemoDeviceUUID}
	others := map[access.Kind]string{access.User: opentera.DemoOtherProjectUserUUID, access.Participant: opentera.DemoOtherParticipantUUID, access.Device: opentera.DemoOtherDeviceUUID}
	for kind, id := range map[access.Kind]access.Identity{access.User: dynamic[access.User], access.Participant: dynamic[access.Participant], access.Device: device} {
		mine := []string{create(t, connects, kind, id.UUID), create(t, connects, kind, id.UUID)}
		theirs := create(t, connects, kind, others[kind])
		token, session := "", ""
		if kind != access.Device {
			token = d.tokenOf(kind, id.ID)
		}
		if kind == access.User {
			var err error
			if session, err = d.users.StartSession(t.Context(), id.ID, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.logout(kind, id, token); err != nil {
			t.Fatal(err)
		}
		for _, connect := range mine {
			refused(t, connects, kind, connect)
		}
		if _, err := connects.Redeem(t.Context(), kind, theirs); err != nil {
			t.Errorf("%s: somebody else's connect token: %v", kind, err)
		}
		if token != "" {
			_, err := d.byToken(kind, token)
			mustRefuse(t, kind.String(), err, invalidToken, "")
			if err := d.logout(kind, id, token); err != nil {
				t.Errorf("%s: logged out twice: %v", kind, err)
			}
		}
		if session != "" {
			_, err := d.users.BySession(t.Context(), session)
			mustRefuse(t, "second step", err, invalidToken, "")
		}
		announce(t, d.pool)
		if n := asked[int](d, "SELECT count(*) FROM terasocket.events WHERE type = 'terasocket.Kick' AND object_type = $1 AND object_id = $2", kind.String(), id.ID); n < 1 {
			t.Errorf("%s: not kicked", kind)
		}
	}
	// a static token remains valid, even if the logout was authenticated with it
	if err := d.participants.Logout(t.Context(), dynamic[access.Participant], static); err != nil {
		t.Error(err)
	}
	if login, err := d.participants.ByToken(t.Context(), static); err != nil || login.IsFull || login.IsDynamic || login.BaseToken == nil || *login.BaseToken != static || login.ProjectID != 1 {
		t.Errorf("static token: %+v, %v", login, err)
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.disabled_tokens"); n != 2 {
		t.Errorf("%d tokens disabled, want 2", n)
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.events WHERE type = 'terasocket.Kick' AND object_id NOT IN (1, 9)"); n != 0 {
		t.Errorf("%d others kicked", n)
	}
	// without any token, by password
	if err := d.users.Logout(t.Context(), dynamic[access.User], ""); err != nil {
		t.Error(err)
	}
	// a logout does not disable a token of another kind
	token := d.tokenOf(access.Participant, opentera.DemoParticipantID)
	if err := d.users.Logout(t.Context(), dynamic[access.User], token); err != nil {
		t.Error(err)
	}
	if _, err := d.byToken(access.Participant, token); err != nil {
		t.Error(err)
	}
}
