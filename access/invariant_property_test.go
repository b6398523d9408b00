package access_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"terasocket/db/dbtest"
)

// rarely returns changes that the other random transactions lack: of many rows, of columns that rights and keys are computed from, of
// primary keys, of whole tables.
func (r *installation) rarely() string {
	all := make([]string, 0, len(counts))
	for _, c := range counts {
		if c.table != "t_server_settings" && c.table != "t_devices_types" {
			all = append(all, c.table)
		}
	}
	name := all[r.IntN(len(all))]
	id := tables[name].id
	some := fmt.Sprintf("%s %% %d = %d", id, 2+r.IntN(3), r.IntN(2))
	set := func(table, columns string) string {
		return fmt.Sprintf("UPDATE %s SET %s WHERE %s %% 3 = %d", table, columns, tables[table].id, r.IntN(3))
	}
	switch r.IntN(20) {
	case 0, 1:
		return fmt.Sprintf("UPDATE %s SET deleted_at = clock_timestamp() WHERE deleted_at IS NULL AND %s", name, some)
	case 2, 3, 4:
		return fmt.Sprintf("UPDATE %s SET deleted_at = NULL WHERE %s", name, some)
	case 5:
		return fmt.Sprintf("DELETE FROM %s WHERE %s AND deleted_at IS NOT NULL", name, some)
	case 6:
		return set("t_users", fmt.Sprintf("user_enabled = NOT user_enabled, user_superadmin = (id_user %% 4 = %d)", r.IntN(5)))
	case 7:
		return set("t_participants", "participant_enabled = NOT participant_enabled, "+r.ref("id_project", "t_projects", 0))
	case 8:
		return set("t_devices", "device_enabled = NOT device_enabled")
	case 9:
		return set("t_services_roles", "service_role_name = CASE service_role_name WHEN 'admin' THEN 'user' ELSE 'admin' END")
	case 10:
		return set("t_services_roles", r.ref("id_site", "t_sites", 50)+", "+r.ref("id_project", "t_projects", 50))
	case 11:
		return set("t_projects", r.ref("id_site", "t_sites", 0))
	case 12: // another object behind the clients' key, and another owner of assets
		return fmt.Sprintf("UPDATE t_services SET service_uuid = '5e000000-%d' WHERE id_service = %d", r.any("t_services"), r.any("t_services"))
	case 13: // a key without references
		name := []string{"t_assets", "t_tests", "t_tests_invitations", "t_sessions_users", "t_devices_sites", "t_sessions_types_sites", "t_services_access"}[r.IntN(7)]
		r.next++
		old := r.any(name)
		r.ids[name] = append(r.ids[name], r.next)
		return fmt.Sprintf("UPDATE %s SET %s = %d WHERE %[2]s = %[4]d", name, tables[name].id, r.next, old)
	case 15, 16, 17: // any referenced row
		if columns := r.columns(name); len(columns) > 0 && name != "t_users" {
			return set(name, strings.Join(columns, ", "))
		}
		return update("t_services_roles", r.any("t_services_roles"), r.ref("id_service", "t_services", 0))
	case 18:
		if r.IntN(6) == 0 {
			return "TRUNCATE " + []string{"t_tests", "t_sessions", "t_services_roles", "t_tests_types", "t_participants_groups", "t_users_groups", "t_assets"}[r.IntN(7)] + " CASCADE"
		}
		return update("t_services_access", r.any("t_services_access"), r.columns("t_services_access")...)
	case 14: // dependents of a session, and columns that decide who sees them
		return update("t_sessions", r.any("t_sessions"), r.columns("t_sessions")...)
	default:
		if r.IntN(3) > 0 {
			return set("t_tests_types", r.ref("id_service", "t_services", 0))
		}
		return "TRUNCATE " + []string{"t_sessions_users", "t_users_users_groups", "t_services_access", "t_devices_sites", "t_services_projects",
			"t_sessions_participants", "t_tests_types_sites", "t_sessions_types_sites", "t_assets", "t_tests_invitations", "t_tests"}[r.IntN(11)]
	}
}

// seeds returns how many random installations to try: long, 1 with -short, or TERASOCKET_SEEDS if larger.
func seeds(long int) uint64 {
	asked, _ := strconv.ParseUint(os.Getenv("TERASOCKET_SEEDS"), 10, 32)
	return max(asked, uint64(dbtest.Many(long, 1)))
}

// Whatever transactions do, the announcer's memory equals the tables afterwards.
func TestAnnouncerMemoryEqualsTheTables(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t, bare())
			r := newInstallation(2000 + seed)
			f.do(r.statements()...)
			f.skip()
			var since []string // changes since the memory was last correct
			for done := 0; done < 60; {
				var sql []string
				for range 1 + r.IntN(4) {
					if r.IntN(3) == 0 {
						sql = append(sql, r.change(f).sql)
					} else {
						sql = append(sql, r.rarely())
					}
				}
				if r.IntN(8) == 0 {
					sql = append(sql, "SAVEPOINT s", r.rarely(), "ROLLBACK TO s")
				}
				if f.try(sql...) != nil {
					continue // violates a foreign key
				}
				done++
				since = append(since, strings.Join(sql, ";\n")+";")
				if r.IntN(3) == 0 {
					continue // announced together with the next one
				}
				f.atMost = []int{1, 3, 2000, 2000}[r.IntN(4)]
				f.announce()
				if differences := f.remembers(); len(differences) > 0 {
					t.Fatalf("seed %d:\n%s\n\nafter the transactions\n%s", seed, strings.Join(differences[:min(len(differences), 10)], "\n"), strings.Join(since, "\n--\n"))
				}
				since = nil
			}
		})
	}
}
