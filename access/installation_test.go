package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// installation generates a small OpenTera with everything that the rules depend on, including soft deletions of every kind and roles of
// several services.
type installation struct {
	*rand.Rand
	ids  map[string][]int // of the rows of each table
	next int
}

// withViews adds OpenTera's rules to an installation, in the schema vis.
func withViews(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, views).ReadAll()
	return err
}

func newInstallation(seed uint64) *installation {
	return &installation{Rand: rand.New(rand.NewPCG(seed, 7)), ids: map[string][]int{}, next: 100}
}

// any returns the id of a random row of a table.
func (r *installation) any(table string) int { return r.ids[table][r.IntN(len(r.ids[table]))] }

// ref sets a column to a random row of a table, or to NULL with a probability of null percent.
func (r *installation) ref(column, table string, null int) string {
	if r.IntN(100) < null {
		return column + "=NULL"
	}
	return fmt.Sprintf("%s=%d", column, r.any(table))
}

// serviceUUID is asset_service_uuid.
func (r *installation) serviceUUID() string {
	return fmt.Sprintf("asset_service_uuid='5e000000-%d'", r.any("t_services"))
}

// add returns the INSERT of a new row, soft-deleted with a probability of dead percent.
func (r *installation) add(table string, dead int, columns ...string) string {
	r.next++
	id := r.next
	if table == "t_services" && len(r.ids[table]) == 0 {
		id, columns = 1, append(columns, "service_key='OpenTeraServer'")
	}
	if r.IntN(100) < dead {
		columns = append(columns, "deleted_at=now()")
	}
	r.ids[table] = append(r.ids[table], id)
	return row(table, id, columns...)
}

// columns returns the columns of a new row of a table.
func (r *installation) columns(table string) []string {
	switch table {
	case "t_projects":
		return []string{r.ref("id_site", "t_sites", 0)}
	case "t_services_roles":
		role := []string{r.ref("id_service", "t_services", 0), "service_role_name='" + []string{"admin", "user", "manager"}[r.IntN(3)] + "'"}
		if r.IntN(2) == 0 {
			role[0] = "id_service=1"
		}
		switch r.IntN(10) {
		case 0: // global
		case 1:
			role = append(role, r.ref("id_site", "t_sites", 0), r.ref("id_project", "t_projects", 0))
		case 2, 3, 4:
			role = append(role, r.ref("id_site", "t_sites", 0))
		default:
			role = append(role, r.ref("id_project", "t_projects", 0))
		}
		return role
	case "t_users":
		return []string{fmt.Sprintf("user_superadmin=%t", r.IntN(8) == 0), fmt.Sprintf("user_enabled=%t", r.IntN(8) > 0)}
	case "t_services_access":
		return []string{r.ref("id_user_group", "t_users_groups", 5), r.ref("id_service_role", "t_services_roles", 0)}
	case "t_users_users_groups":
		return []string{r.ref("id_user", "t_users", 0), r.ref("id_user_group", "t_users_groups", 0)}
	case "t_participants_groups":
		return []string{r.ref("id_project", "t_projects", 0)}
	case "t_participants":
		return []string{r.ref("id_project", "t_projects", 0), r.ref("id_participant_group", "t_participants_groups", 50)}
	case "t_devices_sites":
		return []string{r.ref("id_device", "t_devices", 0), r.ref("id_site", "t_sites", 0)}
	case "t_services_sites":
		return []string{r.ref("id_service", "t_services", 0), r.ref("id_site", "t_sites", 0)}
	case "t_services_projects":
		return []string{r.ref("id_service", "t_services", 0), r.ref("id_project", "t_projects", 0)}
	case "t_sessions_types":
		return []string{r.ref("id_service", "t_services", 50)}
	case "t_sessions_types_sites":
		return []string{r.ref("id_session_type", "t_sessions_types", 0), r.ref("id_site", "t_sites", 0)}
	case "t_sessions_types_projects":
		return []string{r.ref("id_session_type", "t_sessions_types", 0), r.ref("id_project", "t_projects", 0)}
	case "t_sessions_types_services":
		return []string{r.ref("id_session_type", "t_sessions_types", 0), r.ref("id_service", "t_services", 0)}
	case "t_sessions":
		return []string{r.ref("id_session_type", "t_sessions_types", 0), r.ref("id_creator_user", "t_users", 60), r.ref("id_creator_participant", "t_participants", 70),
			r.ref("id_creator_device", "t_devices", 70), r.ref("id_creator_service", "t_services", 70)}
	case "t_sessions_users":
		return []string{r.ref("id_session", "t_sessions", 5), r.ref("id_user", "t_users", 5)}
	case "t_sessions_participants":
		return []string{r.ref("id_session", "t_sessions", 5), r.ref("id_participant", "t_participants", 5)}
	case "t_sessions_devices":
		return []string{r.ref("id_session", "t_sessions", 5), r.ref("id_device", "t_devices", 5)}
	case "t_assets":
		return []string{r.ref("id_session", "t_sessions", 0), r.serviceUUID()}
	case "t_tests_types":
		return []string{r.ref("id_service", "t_services", 0)}
	case "t_tests_types_sites":
		return []string{r.ref("id_test_type", "t_tests_types", 0), r.ref("id_site", "t_sites", 0)}
	case "t_tests":
		return []string{r.ref("id_test_type", "t_tests_types", 0), r.ref("id_session", "t_sessions", 0)}
	case "t_tests_invitations":
		return []string{r.ref("id_test_type", "t_tests_types", 0), r.ref("id_project", "t_projects", 0), r.ref("id_user", "t_users", 60),
			r.ref("id_participant", "t_participants", 60), r.ref("id_device", "t_devices", 60), r.ref("id_session", "t_sessions", 60)}
	}
	return nil
}

// counts is the number of rows of each table, in the order of their foreign keys.
var counts = []struct {
	table string
	n     int
}{
	{"t_server_settings", 1}, {"t_sites", 3}, {"t_projects", 5}, {"t_services", 4}, {"t_services_roles", 16}, {"t_users", 12}, {"t_users_groups", 7},
	{"t_services_access", 20}, {"t_users_users_groups", 18}, {"t_participants_groups", 4}, {"t_participants", 8}, {"t_devices_types", 1}, {"t_devices", 5},
	{"t_devices_sites", 6}, {"t_services_sites", 5}, {"t_services_projects", 7}, {"t_sessions_types", 4}, {"t_sessions_types_sites", 5},
	{"t_sessions_types_projects", 5}, {"t_sessions_types_services", 4}, {"t_sessions", 8}, {"t_sessions_users", 6}, {"t_sessions_participants", 9},
	{"t_sessions_devices", 4}, {"t_assets", 10}, {"t_tests_types", 4}, {"t_tests_types_sites", 6}, {"t_tests", 8}, {"t_tests_invitations", 10},
}

// statements fill the empty tables.
func (r *installation) statements() []string {
	var all []string
	for _, c := range counts {
		for range c.n {
			dead := 12
			if c.table == "t_server_settings" || c.table == "t_devices_types" {
				dead = 0
			}
			columns := r.columns(c.table)
			if c.table == "t_devices_types" {
				r.ids[c.table] = []int{1}
				all = append(all, row(c.table, 1))
				continue
			}
			all = append(all, r.add(c.table, dead, columns...))
		}
	}
	return all
}
