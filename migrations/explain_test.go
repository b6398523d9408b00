package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// A role that may only call explain gets answers; it reads no table itself, and other roles may not call it.
func TestExplainForARoleOfItsOwn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	e := f.expectOne("UPDATE t_participants SET participant_name = 'Secret Name' WHERE id_participant = 1", "U participant 1")
	explain := fmt.Sprintf("SELECT terasocket.explain(%d, 'user', '0f381083-a1b8-5b98-9ab8-abdcebfab2b6')::text", e.Seq)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role)
	f.exec("SET ROLE " + role)
	if _, err := f.conn.Exec(t.Context(), explain); err == nil || !strings.Contains(err.Error(), "permission denied for function explain") {
		t.Errorf("a role without the right: %v", err)
	}
	f.exec("RESET ROLE; GRANT EXECUTE ON FUNCTION terasocket.explain(bigint, text, text) TO " + role + "; SET ROLE " + role)
	answer := one[string](f, explain)
	if !strings.Contains(answer, `"may_see": true`) || !strings.Contains(answer, `"group": "Responsables Télé-AVC"`) || strings.Contains(answer, "Secret") {
		t.Errorf("%s", answer)
	}
	for _, sql := range []string{"SELECT * FROM terasocket.roles_of(7)", "SELECT * FROM terasocket.paths('user', 7, '{x}')", "SELECT terasocket.needed('p:1')",
		"SELECT terasocket.explained('[]', 'user', '', 7)", "SELECT * FROM terasocket.events", "SELECT * FROM t_users"} {
		if _, err := f.conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	f.exec("RESET ROLE")
}
