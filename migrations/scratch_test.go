package migrations_test

import "testing"

func TestScratchProfile(t *testing.T) {
	f := setup(t)
	manyParticipants(f, 2000)
	f.exec("ANALYZE")
	loop := func(name, setup, expr string) {
		ms := one[float64](f, "SELECT 1::float8")
		f.exec(`CREATE OR REPLACE FUNCTION pg_temp.loop() RETURNS float8 LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET jit = off AS $f$
		DECLARE t0 timestamptz; ot terasocket.object_types; r jsonb; r2 jsonb; hidden text[]; x text; n int := 1000;
		BEGIN ` + setup + ` PERFORM ` + expr + `; PERFORM ` + expr + `;PERFORM ` + expr + `;PERFORM ` + expr + `;PERFORM ` + expr + `;PERFORM ` + expr + `;
		t0 := clock_timestamp(); FOR i IN 1..n LOOP PERFORM ` + expr + `; END LOOP; RETURN extract(epoch from clock_timestamp() - t0) * 1e6 / n; END $f$`)
		ms = one[float64](f, "SELECT pg_temp.loop()")
		t.Logf("%-40s %8.1f µs", name, ms)
	}
	for _, ty := range []string{"session s WHERE id_session = 1", "participant s WHERE id_participant = 100001", "site s WHERE id_site = 1", "asset s WHERE id_asset = 1", "user s WHERE id_user = 9", "test_invitation s WHERE id_test_invitation = 1", "service s WHERE id_service = 5", "device s WHERE id_device = 1", "test s WHERE id_test = 1"} {
		var name string
		for i := range ty {
			if ty[i] == ' ' {
				name = ty[:i]
				break
			}
		}
		k := map[string]string{"session": "t_sessions", "participant": "t_participants", "site": "t_sites", "asset": "t_assets", "user": "t_users", "test_invitation": "t_tests_invitations", "service": "t_services", "device": "t_devices", "test": "t_tests"}[name]
		set := "SELECT * INTO ot FROM terasocket.object_types WHERE object_type = '" + name + "'; SELECT to_jsonb(s) INTO r FROM " + k + ty[len(name):] + "; r2 := r || '{\"" + name + "_name\": \"zz\"}'; hidden := terasocket.hidden(ot, r);"
		loop(name+" keys", set, "terasocket.keys('"+name+"', r)")
		loop(name+" visible_body", set, "terasocket.visible_body(ot, hidden, r, false)")
		loop(name+" computed", set, "terasocket.computed('"+name+"', r, false)")
		loop(name+" change", set, "* FROM terasocket.change(ot, hidden, r, r2)")
	}
}
