package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"terasocket/access"
	"terasocket/db/opentera"
)

// client is somebody whom an event can be explained for.
type client struct {
	access.Principal
	uuid string
}

func (f *fixture) explain(seq int64, c client) *access.Explanation {
	f.Helper()
	x, err := (&access.Explainer{Pool: f.pool}).Explain(f.Context(), seq, c.Kind, c.uuid)
	if err != nil {
		f.Fatal(err)
	}
	return x
}

// newest is the seq of the last event.
func (f *fixture) newest() int64 {
	f.Helper()
	f.announce()
	return one[int64](f, "SELECT max(seq) FROM terasocket.events")
}

// Who must not see what in the demo installation, and by which paths the others do.
func TestExplainInTheDemo(t *testing.T) {
	t.Parallel()
	f := setup(t, demo())
	user := func(uuid string) client { return client{access.Principal{Kind: access.User}, uuid} }
	const participant, device = access.Participant, access.Device
	f.do("UPDATE t_participants SET participant_name = 'x' WHERE id_participant = 1")
	updated := f.newest()
	f.do("UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 1")
	moved := f.newest()
	f.do(`SELECT terasocket.publish('module.TeraServer.UserManagerModule.events',
		'{"@type": "type.googleapis.com/opentera.protobuf.ParticipantEvent", "participantUuid": "` + opentera.DemoParticipantUUID + `"}')`)
	published := f.newest()
	f.do(`SELECT terasocket.publish('module.TeraServer.TwistedModule.events.` + opentera.DemoDeviceUUID + `',
		'{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": "CMD_CLIENT_DISCONNECT"}')`)
	kicked := f.newest()
	for _, test := range []struct {
		seq  int64
		who  client
		want string // "no", "gone", or the path: one word for each clause
	}{
		{updated, user(opentera.DemoOtherSiteAdminUUID), "no"},
		{updated, user(opentera.DemoSiteUserUUID), "no"},
		{updated, user(opentera.DemoOtherProjectAdminUUID), "no"},
		{updated, user(opentera.DemoOtherProjectUserUUID), "no"},
		{updated, user(opentera.DemoServiceManagerUUID), "no"},
		{updated, user(opentera.DemoServiceSiteAdminUUID), "no"},
		{updated, user(opentera.DemoNoRoleUUID), "no"},
		{updated, user(opentera.DemoDisabledUUID), "no"},
		{updated, user(opentera.DemoDeletedUUID), "no"},
		{updated, client{access.Principal{Kind: participant}, opentera.DemoParticipantUUID}, "no"},
		{updated, client{access.Principal{Kind: device}, opentera.DemoDeviceUUID}, "no"},
		{updated, user(opentera.DemoSuperadminUUID), "superadmin"},
		{updated, user(strings.ToUpper(opentera.DemoSiteAdminUUID)), "admin on site 1"},
		{updated, user(opentera.DemoProjectAdminUUID), "admin on project 1"},
		{updated, user(opentera.DemoProjectUserUUID), "user on project 1"},
		{updated, user(opentera.DemoTwoGroupsUUID), "user on project 1"},

		{moved, user(opentera.DemoOtherProjectUserUUID), "no"},
		{moved, user(opentera.DemoDisabledUUID), "no"},
		{moved, user(opentera.DemoProjectAdminUUID), "gone"},
		{moved, user(opentera.DemoSiteAdminUUID), "gone"},
		{moved, user(opentera.DemoSuperadminUUID), "superadmin"},
		{moved, user(opentera.DemoOtherSiteAdminUUID), "admin on site 2"},
		{moved, user(opentera.DemoOtherProjectAdminUUID), "admin on project 4"},

		{published, user(opentera.DemoProjectAdminUUID), "no"},
		{published, client{access.Principal{Kind: participant}, opentera.DemoOtherParticipantUUID}, "no"},
		{published, client{access.Principal{Kind: device}, opentera.DemoOtherDeviceUUID}, "no"},
		{published, client{access.Principal{Kind: device}, opentera.DemoDisabledDeviceUUID}, "no"},
		{published, client{access.Principal{Kind: participant}, opentera.DemoParticipantUUID}, "itself"},
		{published, client{access.Principal{Kind: device}, opentera.DemoDeviceUUID}, "itself"},

		{kicked, user(opentera.DemoSuperadminUUID), "no"},
		{kicked, client{access.Principal{Kind: device}, opentera.DemoDeviceUUID}, "no"},
	} {
		x := f.explain(test.seq, test.who)
		got := "no"
		if x.AsDeleted {
			got = "gone"
		} else if x.MaySee {
			var ways []string
			for _, clause := range x.Clauses {
				way := clause.Has[0]
				if way.Role != nil {
					ways = append(ways, fmt.Sprintf("%s on %s %d", way.Role.Name, *way.On, *way.OnID))
				} else {
					ways = append(ways, way.By)
				}
			}
			got = strings.Join(ways, ", ")
		}
		if got != test.want {
			t.Errorf("event %d, %s %s: %q, want %q", test.seq, test.who.Kind, test.who.uuid, got, test.want)
		}
	}
}

func TestExplainErrors(t *testing.T) {
	t.Parallel()
	f := setup(t, demo())
	x := &access.Explainer{Pool: f.pool}
	missing := func(name string, seq int64, want string) {
		t.Helper()
		var e *access.MissingEventError
		if _, err := x.Explain(t.Context(), seq, access.User, opentera.DemoSuperadminUUID); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	last := one[int64](f, "SELECT last_seq FROM terasocket.announcer") // where the epoch begins
	missing("nothing ever", last+1, fmt.Sprintf("there never was an event %d: the last one is %d", last+1, last))
	for range 3 {
		f.do("UPDATE t_sites SET site_name = site_name || '.' WHERE id_site = 1")
		f.announce()
	}
	f.do(fmt.Sprintf("DELETE FROM terasocket.events WHERE seq = %d", last+1))
	missing("trimmed", last+1, fmt.Sprintf("event %d is not in the log any more: the oldest held is %d", last+1, last+2))
	f.do(fmt.Sprintf("UPDATE terasocket.events SET seq = seq + 7 WHERE seq = %d", last+3), fmt.Sprintf("UPDATE terasocket.announcements SET last_seq = %d", last+10))
	missing("between epochs", last+5, fmt.Sprintf("event %d is not in the log: no event has that number (the log holds %d to %d)", last+5, last+2, last+10))
	missing("in the future", last+11, fmt.Sprintf("there never was an event %d: the last one is %d", last+11, last+10))
	missing("below all", -1, fmt.Sprintf("there never was an event -1: the last one is %d", last+10))
	for name, c := range map[string]client{
		"unknown":      {access.Principal{Kind: access.User}, "no-such"},
		"another kind": {access.Principal{Kind: access.Device}, opentera.DemoSuperadminUUID},
		"no text":      {access.Principal{Kind: access.User}, "a\x00b"},
		"empty":        {access.Principal{Kind: access.User}, ""},
	} {
		if _, err := x.Explain(t.Context(), last+2, c.Kind, c.uuid); !errors.Is(err, access.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
	}
	if _, err := x.Explain(t.Context(), last+2, access.Kind(9), "x"); err == nil || !strings.Contains(err.Error(), "it must be user, participant or device") {
		t.Errorf("another kind: %v", err)
	}
	f.do("DELETE FROM terasocket.events")
	missing("all trimmed", last+2, fmt.Sprintf("event %d is not in the log any more: the log is empty", last+2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Explain(ctx, last+2, access.User, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
