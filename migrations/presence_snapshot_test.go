package migrations_test

import "testing"

// A snapshot contains exactly those whose presence the viewer would be told of: starting from the tags misses nobody.
func TestSnapshotStartsFromTheTags(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(`INSERT INTO terasocket.online (kind, principal, online_since, connected_at)
		SELECT 'user', id_user, now(), now() FROM t_users UNION ALL SELECT 'participant', id_participant, now(), now() FROM t_participants WHERE id_participant % 3 > 0
		UNION ALL SELECT 'device', id_device, now(), now() FROM t_devices`)
	f.exec(`INSERT INTO terasocket.busy (kind, principal, session_uuid) SELECT 'participant', id_participant, 'x' FROM t_participants WHERE id_participant % 2 = 0
		UNION ALL SELECT 'user', 999999, 'x'`)
	f.exec("INSERT INTO t_devices_participants (id_device_participant, id_device, id_participant, version_id) SELECT 5000 + 10 * d + p, d, p, 1 FROM generate_series(1, 3) d, generate_series(1, 8) p ON CONFLICT DO NOTHING")
	const compare = `
		WITH viewer AS (SELECT 'user' AS kind, id_user AS id FROM t_users UNION ALL SELECT 'participant', id_participant FROM t_participants WHERE id_participant < 40
		                UNION ALL SELECT 'device', id_device FROM t_devices),
		     held AS (SELECT v.kind, v.id, ARRAY(SELECT t.tag FROM terasocket.tags_of(v.kind, ARRAY[v.id]) t) AS tags FROM viewer v),
		     law AS (SELECT h.kind, h.id, p.kind AS whose, p.principal FROM held h, terasocket.presence p WHERE terasocket.presence_roles(p.kind, p.principal) && h.tags),
		     near AS (SELECT h.kind, h.id, n.kind AS whose, n.principal FROM held h, LATERAL terasocket.presence_near(h.tags) n),
		     told AS (SELECT h.kind, h.id, cardinality(s.names) AS n FROM held h, LATERAL terasocket.presence_snapshot(h.kind, h.id) s)
		SELECT (SELECT count(*) FROM law) AS seen, (SELECT count(*) FROM (TABLE law EXCEPT TABLE near) x), (SELECT count(*) FROM (SELECT kind, id, whose, principal FROM near GROUP BY 1, 2, 3, 4 HAVING count(*) > 1) x),
		       (SELECT count(*) FROM told o WHERE o.n <> (SELECT count(*) FILTER (WHERE p.online_since IS NOT NULL) + count(*) FILTER (WHERE p.busy IS NOT NULL) FROM law l
		           JOIN terasocket.presence p ON p.kind = l.whose AND p.principal = l.principal WHERE l.kind = o.kind AND l.id = o.id))`
	var seen, missing, twice, different int
	if err := f.conn.QueryRow(t.Context(), compare).Scan(&seen, &missing, &twice, &different); err != nil {
		t.Fatal(err)
	}
	if seen < 1000 || missing+twice+different != 0 {
		t.Errorf("of %d pairs that see each other %d are missing, %d duplicate; %d viewers get a wrong number", seen, missing, twice, different)
	}
}

// Many sockets at once, one of them twice, and a repeated call: each principal that comes online is announced once, in order.
func TestConnectedMany(t *testing.T) {
	t.Parallel()
	f := setup(t)
	gateway := one[string](f, "SELECT terasocket.gateway_register('here', '1 minute')::text")
	for range 2 {
		f.exec("SELECT terasocket.connected_many($1::text::uuid, '{3,1,2,4}', '{user,user,participant,user}', '{9,1,1,9}', '{c,a,b,d}', '{w,x,y,z}')", gateway)
		mustEqual(t, "sockets", one[string](f, "SELECT string_agg(socket || client_name || kind || principal, ' ' ORDER BY socket) FROM terasocket.connections"), "1auser1 2bparticipant1 3cuser9 4duser9")
		mustEqual(t, "online", one[int](f, "SELECT count(*) FROM terasocket.online WHERE online_since IS NOT NULL AND offline_at IS NULL"), 3)
		mustEqual(t, "captured", one[string](f, "SELECT string_agg((body->>'kind') || (body->>'principal') || (body->>'type'), ' ' ORDER BY xid, id) FROM terasocket.changes WHERE what = 'presence'"),
			"participant1CONNECTED user1CONNECTED user9CONNECTED")
	}
}
