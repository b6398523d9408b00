package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
)

// clients returns all users, participants and devices, including deleted ones.
func (f *fixture) clients() (all []client) {
	f.Helper()
	rows, err := f.conn.Query(f.Context(), `SELECT 1, id_user, user_uuid FROM t_users UNION ALL
		SELECT 2, id_participant, participant_uuid FROM t_participants UNION ALL SELECT 3, id_device, device_uuid FROM t_devices ORDER BY 1, 2`)
	if err != nil {
		f.Fatal(err)
	}
	var kind int
	var c client
	_, err = pgx.ForEachRow(rows, []any{&kind, &c.ID, &c.uuid}, func() error {
		c.Kind = access.Kind(kind)
		all = append(all, c)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// logged is a log row about an object, or a message; present and former are "" for nobody.
type logged struct {
	seq             int64
	present, former string
}

func (f *fixture) logged() (all []logged) {
	f.Helper()
	rows, err := f.conn.Query(f.Context(), `SELECT seq, coalesce(present::text, ''), coalesce(former::text, '') FROM terasocket.events
		WHERE type LIKE 'opentera.%' ORDER BY seq`)
	if err != nil {
		f.Fatal(err)
	}
	var l logged
	_, err = pgx.ForEachRow(rows, []any{&l.seq, &l.present, &l.former}, func() error { all = append(all, l); return nil })
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// pathSQL: $1 user, $2 tag, $3 role, $4 group -> whether living rows form this path.
const pathSQL = `SELECT EXISTS (
	SELECT FROM t_users_users_groups m
	JOIN   t_users_groups g     ON g.id_user_group = m.id_user_group
	JOIN   t_services_access sa ON sa.id_user_group = g.id_user_group
	JOIN   t_services_roles r   ON r.id_service_role = sa.id_service_role
	LEFT   JOIN t_projects p    ON p.id_project = r.id_project AND p.deleted_at IS NULL
	LEFT   JOIN t_sites ps      ON ps.id_site = p.id_site AND ps.deleted_at IS NULL
	LEFT   JOIN t_sites s       ON s.id_site = r.id_site AND s.deleted_at IS NULL
	WHERE  m.id_user = $1 AND r.id_service_role = $3 AND g.id_user_group = $4
	  AND  m.deleted_at IS NULL AND g.deleted_at IS NULL AND sa.deleted_at IS NULL AND r.deleted_at IS NULL
	  AND  CASE left($2, 1) WHEN 's' THEN s.id_site = substr($2, 3)::bigint OR ps.id_site = substr($2, 3)::bigint
	                        WHEN 'a' THEN s.id_site = substr($2, 3)::bigint AND r.service_role_name = 'admin'
	                        WHEN 'p' THEN p.id_project = substr($2, 3)::bigint
	                                   OR r.service_role_name = 'admin' AND EXISTS (SELECT FROM t_projects o WHERE o.id_project = substr($2, 3)::bigint
	                                                                                AND o.id_site = s.id_site AND o.deleted_at IS NULL) END)`

// isReal reports whether the rows of a path exist; each is looked up once.
func (f *fixture) isReal(known map[string]bool, c client, path access.Path) bool {
	f.Helper()
	key := fmt.Sprint(c.Principal, path.Tag, path.By)
	if path.Role != nil {
		key = fmt.Sprint(key, " ", path.Role.ID, " ", path.Role.GroupID)
	}
	if is, isKnown := known[key]; isKnown {
		return is
	}
	is := false
	switch path.By {
	case "role":
		is = c.Kind == access.User && path.Role != nil && !path.Role.IsGone && one[bool](f, pathSQL, c.ID, path.Tag, path.Role.ID, path.Role.GroupID)
	case "superadmin":
		is = c.Kind == access.User && one[bool](f, "SELECT EXISTS (SELECT FROM t_users WHERE id_user = $1 AND user_superadmin)", c.ID)
	case "itself":
		is = strings.TrimLeft(path.Tag[2:], "0") == fmt.Sprint(c.ID) && path.Tag[0] == "-utd"[c.Kind]
	}
	known[key] = is
	return is
}

// agree compares explanations with audiences, for every event and every picked client, and returns how often each answer occurred.
func (f *fixture) agree(picked func() bool) map[string]int {
	f.Helper()
	clients, real, answers := f.clients(), map[string]bool{}, map[string]int{}
	clauses := func(what string, c client, all []access.ExplainedClause) (isHeld bool) {
		isHeld = len(all) > 0
		for _, clause := range all {
			if clause.IsSatisfied != (len(clause.Has) > 0) {
				f.Errorf("%s, %v: a clause is satisfied: %t, with the paths %v", what, c, clause.IsSatisfied, clause.Has)
			}
			isHeld = isHeld && clause.IsSatisfied
			for _, path := range clause.Has {
				if !slices.ContainsFunc(clause.Needed, func(n access.Need) bool { return n.Tag == path.Tag && !n.IsGone }) || !f.isReal(real, c, path) {
					f.Errorf("%s, %v: there is no such path as %+v %+v", what, c, path, path.Role)
				}
			}
		}
		return isHeld
	}
	for _, l := range f.logged() {
		held := f.principals([]string{l.present, l.former})
		for _, c := range clients {
			if !picked() {
				continue
			}
			what := fmt.Sprintf("event %d, %s, %s", l.seq, l.present, l.former)
			x := f.explain(l.seq, c)
			maySee := slices.Contains(held[0], c.Principal)
			asDeleted := !maySee && slices.Contains(held[1], c.Principal)
			if x.MaySee != maySee || x.AsDeleted != asDeleted {
				f.Errorf("%s: %v may see it: %t, as deleted: %t; want %t, %t", what, c, x.MaySee, x.AsDeleted, maySee, asDeleted)
			}
			if isHeld := clauses(what, c, x.Clauses); isHeld != maySee {
				f.Errorf("%s, %v: all clauses are held: %t; may see it: %t", what, c, isHeld, maySee)
			}
			if isHeld := clauses(what, c, x.Former); isHeld != slices.Contains(held[1], c.Principal) {
				f.Errorf("%s, %v: all former clauses are held: %t", what, c, isHeld)
			}
			answers[fmt.Sprintf("%s %t %t", c.Kind, maySee, asDeleted)]++
		}
	}
	return answers
}

// strange are events with routing keys that capture never writes.
const strange = `INSERT INTO terasocket.events (seq, announcement, at, topic, type, body, present)
	SELECT (SELECT max(seq) FROM terasocket.events) + n, 0, now(), 't', 'opentera.protobuf.UserEvent', '{}', k::jsonb
	FROM unnest(ARRAY['[]', '[[]]', '"x"', '{}', '[["x"], "x"]', '[["x"], []]', '[["z:1"]]', '[["x", ""]]', '[["p:9999999999", "s:99999999999"]]',
		'[["x"], ["x"]]', '[["xx"]]', '[["p:x", "p:", "u:-1"]]']) WITH ORDINALITY k (k, n)`

// Explanations agree with audiences and name existing paths, on random installations with many changes.
func TestExplainAgreesWithAudience(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t, bare())
			r := newInstallation(seed)
			f.do(r.statements()...)
			for i := range 100 {
				table := []string{"t_sites", "t_projects", "t_users", "t_users_groups", "t_services_roles", "t_services_access",
					"t_users_users_groups", "t_participants", "t_sessions_participants", "t_devices_sites"}[r.IntN(10)]
				id := r.any(table)
				change := []string{bury(table, id), raise(table, id), raise(table, id), update("t_participants", r.any("t_participants"), r.ref("id_project", "t_projects", 0)),
					update("t_projects", r.any("t_projects"), r.ref("id_site", "t_sites", 0)), update("t_devices", r.any("t_devices"), "device_name='other'")}
				f.do(change[r.IntN(len(change))])
				if i%3 == 0 {
					f.announce()
				}
			}
			const message = `SELECT terasocket.record_messages(ARRAY[terasocket.message_body('t', m.type, m.body)]) FROM (
				SELECT 'opentera.protobuf.ParticipantEvent', jsonb_build_object('participantUuid', participant_uuid) FROM t_participants UNION ALL
				SELECT 'opentera.protobuf.DeviceEvent', jsonb_build_object('deviceUuid', device_uuid) FROM t_devices UNION ALL
				SELECT 'opentera.protobuf.StopSessionEvent', jsonb_build_object('sessionUuid', session_uuid) FROM t_sessions) m (type, body)`
			f.do(message)
			f.announce()
			f.do(strange)
			answers := f.agree(func() bool { return r.IntN(6) == 0 })
			for _, answer := range []string{"user false false", "user true false", "user false true", "participant false false", "participant true false",
				"device false false", "device true false"} {
				if answers[answer] == 0 && seed == 0 {
					t.Errorf("the test compares too little: %v", answers)
				}
			}
			if answers["participant false true"]+answers["device false true"] > 0 {
				t.Errorf("participants and devices get database events: %v", answers)
			}
		})
	}
}

// The same for every object type and every viewer of the role matrices.
func TestExplainAgreesInTheWorld(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	for objectType, name := range objectTables {
		if column, _, _ := strings.Cut(visibleColumn[objectType], "="); !strings.HasPrefix(column, "id_") {
			f.do(fmt.Sprintf("UPDATE %s SET %s", name, visibleColumn[objectType]))
		}
	}
	f.announce()
	f.do(update("t_participants", 31, "id_project = 21", "id_participant_group = NULL"), bury("t_projects", 12))
	f.announce()
	n := 0
	answers := f.agree(func() bool { n++; return n%4 == 0 })
	if answers["user true false"] < 100 || answers["user false false"] < 100 || answers["user false true"] == 0 {
		t.Errorf("the test compares too little: %v", answers)
	}
}
