package interleave

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// table is one that the random statements write.
type table struct {
	name   string
	id     string
	rows   int    // in world.sql: ids 1 to rows
	label  string // column for renames; "" for none
	refs   []ref
	insert string // further columns and values of a new row: "a, b) VALUES (1, 2", with %d for its id
	noSoft bool   // has no deleted_at
}

// ref is a column that refers to another table.
type ref struct {
	column, table string
	orNull        bool
}

func tables() map[string]table {
	all := map[string]table{}
	for _, t := range []table{
		// the 18 object types
		{name: "t_sites", id: "id_site", rows: 2, label: "site_name", insert: "site_name, site_2fa_required) VALUES ('new %d', false"},
		{name: "t_projects", id: "id_project", rows: 5, label: "project_name", refs: []ref{{"id_site", "t_sites", false}},
			insert: "project_name, project_enabled) VALUES ('new %d', true"},
		{name: "t_users", id: "id_user", rows: 12, label: "user_firstname",
			insert: "user_username, user_uuid, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_superadmin, user_2fa_enabled, " +
				"user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change) VALUES ('new %[1]d', 'new %[1]d', 'new %[1]d', 'l', '', true, '', false, false, false, false, false"},
		{name: "t_users_groups", id: "id_user_group", rows: 10, label: "user_group_name", insert: "user_group_name) VALUES ('new %d'"},
		{name: "t_participants_groups", id: "id_participant_group", rows: 3, label: "participant_group_name", refs: []ref{{"id_project", "t_projects", false}},
			insert: "participant_group_name) VALUES ('new %d'"},
		{name: "t_participants", id: "id_participant", rows: 9, label: "participant_name", refs: []ref{{"id_project", "t_projects", false}, {"id_participant_group", "t_participants_groups", true}},
			insert: "participant_uuid, participant_name, participant_enabled, participant_token_enabled, participant_login_enabled) VALUES ('new %[1]d', 'new %[1]d', true, false, false"},
		{name: "t_devices", id: "id_device", rows: 4, label: "device_name",
			insert: "device_uuid, device_name, id_device_type, device_enabled, device_onlineable) VALUES ('new %[1]d', 'new %[1]d', 1, true, true"},
		{name: "t_services", id: "id_service", rows: 4, label: "service_name",
			insert: "service_uuid, service_name, service_key, service_hostname, service_port, service_endpoint, service_clientendpoint, service_enabled, service_system, " +
				"service_editable_config, service_has_assets, service_has_tests) VALUES ('5e000000-%[1]d', 'new %[1]d', 'New%[1]d', 'h', 1, '/', '/', true, false, false, true, true"},
		{name: "t_sessions_types", id: "id_session_type", rows: 3, label: "session_type_name", refs: []ref{{"id_service", "t_services", true}},
			insert: "session_type_name, session_type_online, session_type_color, session_type_category) VALUES ('new %d', true, '#000000', 1"},
		{name: "t_sessions_types_sites", id: "id_session_type_site", rows: 4, refs: []ref{{"id_session_type", "t_sessions_types", false}, {"id_site", "t_sites", false}}},
		{name: "t_sessions_types_projects", id: "id_session_type_project", rows: 3, refs: []ref{{"id_session_type", "t_sessions_types", false}, {"id_project", "t_projects", false}}},
		{name: "t_sessions_types_services", id: "id_session_type_service", rows: 2, refs: []ref{{"id_session_type", "t_sessions_types", false}, {"id_service", "t_services", false}}},
		{name: "t_sessions", id: "id_session", rows: 8, label: "session_name", refs: []ref{{"id_creator_user", "t_users", true}, {"id_creator_participant", "t_participants", true},
			{"id_creator_device", "t_devices", true}, {"id_creator_service", "t_services", true}, {"id_session_type", "t_sessions_types", false}},
			insert: "session_uuid, session_name, session_start_datetime, session_duration, session_status) VALUES ('new %[1]d', 'new %[1]d', '2024-01-02 03:04:05+00', 0, 0"},
		{name: "t_assets", id: "id_asset", rows: 7, label: "asset_name", refs: []ref{{"id_session", "t_sessions", false}, {"id_participant", "t_participants", true}, {"asset_service_uuid", "t_services", false}},
			insert: "asset_uuid, asset_name, asset_type) VALUES ('new %[1]d', 'new %[1]d', 'x'"},
		{name: "t_tests_types", id: "id_test_type", rows: 3, label: "test_type_name", refs: []ref{{"id_service", "t_services", false}},
			insert: "test_type_uuid, test_type_name, test_type_has_json_format, test_type_has_web_format, test_type_has_web_editor) VALUES ('new %[1]d', 'new %[1]d', true, true, true"},
		{name: "t_tests", id: "id_test", rows: 7, label: "test_name", refs: []ref{{"id_session", "t_sessions", false}, {"id_test_type", "t_tests_types", false}},
			insert: "test_uuid, test_name, test_datetime, test_status) VALUES ('new %[1]d', 'new %[1]d', '2024-01-02 03:04:05+00', 0"},
		{name: "t_tests_invitations", id: "id_test_invitation", rows: 6, label: "test_invitation_message", refs: []ref{{"id_project", "t_projects", false}, {"id_test_type", "t_tests_types", false},
			{"id_user", "t_users", true}, {"id_participant", "t_participants", true}, {"id_device", "t_devices", true}, {"id_session", "t_sessions", true}},
			insert: "test_invitation_key, test_invitation_max_count, test_invitation_count, test_invitation_creation_date, test_invitation_expiration_date) VALUES ('new%d', 1, 0, '2024-01-02 03:04:05+00', '2030-01-02 03:04:05+00'"},
		{name: "t_server_settings", id: "id_server_settings", rows: 2, label: "server_settings_name", insert: "server_settings_name, server_settings_value) VALUES ('new %d', 'v'", noSoft: true},
		// links
		{name: "t_devices_sites", id: "id_device_site", rows: 5, refs: []ref{{"id_device", "t_devices", false}, {"id_site", "t_sites", false}}},
		{name: "t_services_projects", id: "id_service_project", rows: 6, refs: []ref{{"id_service", "t_services", false}, {"id_project", "t_projects", false}}},
		{name: "t_services_sites", id: "id_service_site", rows: 3, refs: []ref{{"id_service", "t_services", false}, {"id_site", "t_sites", false}}},
		{name: "t_sessions_users", id: "id_session_user", rows: 4, refs: []ref{{"id_session", "t_sessions", false}, {"id_user", "t_users", false}}},
		{name: "t_sessions_participants", id: "id_session_participant", rows: 8, refs: []ref{{"id_session", "t_sessions", false}, {"id_participant", "t_participants", false}}},
		{name: "t_sessions_devices", id: "id_session_device", rows: 2, refs: []ref{{"id_session", "t_sessions", false}, {"id_device", "t_devices", false}}},
		{name: "t_tests_types_sites", id: "id_test_type_site", rows: 4, refs: []ref{{"id_test_type", "t_tests_types", false}, {"id_site", "t_sites", false}}},
		// rights
		{name: "t_users_users_groups", id: "id_user_user_group", rows: 11, refs: []ref{{"id_user", "t_users", false}, {"id_user_group", "t_users_groups", false}}},
		{name: "t_services_access", id: "id_service_access", rows: 12, refs: []ref{{"id_user_group", "t_users_groups", false}, {"id_service_role", "t_services_roles", false}}},
		{name: "t_services_roles", id: "id_service_role", rows: 14, refs: []ref{{"id_service", "t_services", false}, {"id_project", "t_projects", true}, {"id_site", "t_sites", true}},
			insert: "service_role_name) VALUES ('user'"},
	} {
		all[t.name] = t
	}
	return all
}

// viewers are the users of world.sql that listen.
const viewers = 10

var (
	objectTables = []string{"t_sites", "t_projects", "t_users", "t_users_groups", "t_participants_groups", "t_participants", "t_participants", "t_devices", "t_services",
		"t_sessions_types", "t_sessions_types_sites", "t_sessions_types_projects", "t_sessions_types_services", "t_sessions", "t_sessions", "t_sessions",
		"t_assets", "t_assets", "t_tests_types", "t_tests", "t_tests", "t_tests_invitations", "t_server_settings"}
	linkTables = []string{"t_devices_sites", "t_devices_sites", "t_services_projects", "t_services_sites", "t_sessions_users", "t_sessions_participants", "t_sessions_participants",
		"t_sessions_devices", "t_sessions_types_sites", "t_tests_types_sites"}
	leafTables   = []string{"t_assets", "t_tests", "t_tests_invitations", "t_sessions_types_projects", "t_sessions_types_services", "t_server_settings"}
	rightsTables = []string{"t_users_users_groups", "t_users_users_groups", "t_services_access", "t_services_access", "t_services_roles"}
)

// generator generates programs. They depend on its seed alone.
type generator struct {
	*rand.Rand
	tables map[string]table
	hot    map[string][]int // ids that are picked most often, so that sessions collide
	about  []string         // tables that are picked most often
	last   map[string][]int // ids of inserted rows, committed or not
	next   int
	names  int

	// isSerial: one session, to expose false alarms of the judge. isSingle: one statement per transaction.
	isSerial, isSingle bool
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 11)), tables: tables(), last: map[string][]int{}, next: 100}
}

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) program(seed uint64, rounds int) program {
	p := program{seed: fmt.Sprintf("INTERLEAVE_SEED=%d", seed), gateways: 1, polled: seed%3 == 0}
	if seed%3 == 1 {
		p.atMost = 1 + int(seed/3%4)
	}
	if !g.isSerial && g.chance(25) {
		p.gateways = 2
		p.stopped = g.chance(50)
	}
	for range rounds {
		sessions := 2 + g.IntN(4)
		if g.isSerial {
			sessions = 1
		}
		p.rounds = append(p.rounds, g.round(sessions))
	}
	return p
}

// round generates sessions and interleaves their steps.
func (g *generator) round(sessions int) (r round) {
	g.hot = map[string][]int{}
	for _, name := range slices.Sorted(mapKeys(g.tables)) {
		g.hot[name] = []int{1 + g.IntN(g.tables[name].rows)}
		if g.chance(30) {
			g.hot[name] = append(g.hot[name], 1+g.IntN(g.tables[name].rows))
		}
	}
	g.about = pick(g, themes)
	perSession := make([][]step, sessions)
	tx := 0
	for i := range perSession {
		transactions := 1 + g.IntN(3)
		if g.isSerial {
			transactions = 8
		}
		for range transactions {
			tx++
			perSession[i] = append(perSession[i], g.transaction(i+1, tx)...)
		}
	}
	for {
		var left []int
		for i, steps := range perSession {
			if len(steps) > 0 {
				left = append(left, i)
			}
		}
		if len(left) == 0 {
			return r
		}
		if g.chance(5) && !g.isSerial {
			s := step{session: 1 + g.IntN(viewers), op: connect, name: pick(g, []string{"live", "resumed"})}
			s.sql = fmt.Sprintf("user %d connects: %s", s.session, s.name)
			r = append(r, s)
		}
		i := pick(g, left)
		r = append(r, perSession[i][0])
		perSession[i] = perSession[i][1:]
	}
}

func (g *generator) transaction(session, tx int) (steps []step) {
	add := func(o op, name, sql string) { steps = append(steps, step{session, tx, o, name, sql}) }
	add(begin, "", "BEGIN ISOLATION LEVEL "+pick(g, []string{"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}))
	if g.isSingle {
		add(statement, "", pick(g, g.statements()))
		add(commit, "", "COMMIT")
		return steps
	}
	isPrepared := g.chance(6)
	if isPrepared {
		add(statement, "", "SET LOCAL terasocket.notify = off")
	}
	open := ""
	for range 1 + g.IntN(1+g.IntN(5)) {
		if open == "" && g.chance(12) {
			g.names++
			open = fmt.Sprintf("s%d", g.names)
			add(savepoint, open, "SAVEPOINT "+open)
		}
		for _, sql := range g.statements() {
			add(statement, "", sql)
		}
		if open != "" && g.chance(50) {
			add(rollbackTo, open, "ROLLBACK TO "+open)
			open = ""
		}
	}
	switch {
	case isPrepared:
		g.names++
		name := fmt.Sprintf("'p%d %x'", g.names, g.Uint32()) // each name is unique in the server
		add(prepare, name, "PREPARE TRANSACTION "+name)
		if g.chance(80) {
			add(commitPrepared, name, "COMMIT PREPARED "+name)
		} else {
			add(rollbackPrepared, name, "ROLLBACK PREPARED "+name)
		}
	case g.chance(8):
		add(rollback, "", "ROLLBACK")
	default:
		add(commit, "", "COMMIT")
	}
	return steps
}

// themes group related tables: most statements of a round are about one group.
var themes = [][]string{
	{"t_sessions", "t_sessions", "t_sessions_users", "t_sessions_participants", "t_sessions_participants", "t_participants", "t_assets", "t_tests"},
	{"t_sessions", "t_sessions_participants", "t_participants", "t_projects", "t_tests_invitations", "t_participants_groups"},
	{"t_devices", "t_devices_sites", "t_devices_sites", "t_sites", "t_tests_invitations", "t_sessions_devices"},
	{"t_services", "t_services_projects", "t_services_sites", "t_assets", "t_tests", "t_tests_types", "t_sessions_types_services"},
	{"t_sessions_types", "t_sessions_types_sites", "t_sessions_types_projects", "t_sessions_types_services"},
	{"t_tests_types", "t_tests_types_sites", "t_tests", "t_tests_invitations", "t_services_projects"},
	{"t_users", "t_users_users_groups", "t_users_users_groups", "t_services_access", "t_users_groups", "t_services_roles", "t_sessions_users"},
	{"t_projects", "t_sites", "t_participants", "t_services_roles", "t_users_users_groups"},
}

// statements returns one change, mostly as one statement.
func (g *generator) statements() []string {
	if g.chance(65) {
		return g.change(pick(g, g.about))
	}
	switch n := g.IntN(100); {
	case n < 45:
		return g.change(pick(g, objectTables))
	case n < 70:
		return g.change(pick(g, linkTables))
	case n < 88:
		return g.change(pick(g, rightsTables))
	case n < 92:
		return []string{g.flag()}
	default:
		return g.bulk()
	}
}

// id picks a row of a table: a hot one, an inserted one, or any.
func (g *generator) id(name string) int {
	switch n := g.IntN(100); {
	case n < 70:
		return pick(g, g.hot[name])
	case n < 80 && len(g.last[name]) > 0:
		return pick(g, g.last[name])
	}
	return 1 + g.IntN(g.tables[name].rows)
}

func (g *generator) value(r ref) string {
	if r.orNull && g.chance(30) {
		return "NULL"
	}
	if r.column == "asset_service_uuid" {
		return fmt.Sprintf("'5e000000-%d'", g.id(r.table))
	}
	return fmt.Sprint(g.id(r.table))
}

// change is a statement on one row: rename, move, soft delete, undelete, delete, insert.
func (g *generator) change(name string) []string {
	t := g.tables[name]
	id := g.id(name)
	isViewer := name == "t_users" && id <= viewers
	where := fmt.Sprintf("%s = %d", t.id, id)
	if (slices.Contains(linkTables, name) || slices.Contains(rightsTables, name)) && g.chance(50) {
		r := pick(g, t.refs) // the links of an object
		where = fmt.Sprintf("%s = %d", r.column, g.id(r.table))
	}
	update := func(set string) []string {
		return []string{fmt.Sprintf("UPDATE %s SET %s, version_id = version_id + 1 WHERE %s", name, set, where)}
	}
	for {
		switch n := g.IntN(100); {
		case n < 35 && t.label != "":
			g.names++
			return update(fmt.Sprintf("%s = 'n%d'", t.label, g.names))
		case n < 35 && name == "t_services_roles":
			return update("service_role_name = '" + pick(g, []string{"admin", "user", "manager"}) + "'")
		case n >= 35 && n < 60 && len(t.refs) > 0:
			r := pick(g, t.refs)
			set := r.column + " = " + g.value(r)
			if r.column == "id_project" && name == "t_participants" {
				set += ", id_participant_group = NULL"
			}
			return update(set)
		case n >= 60 && n < 73 && !t.noSoft && (!isViewer || g.chance(15)):
			return update("deleted_at = now()")
		case n >= 73 && n < 80 && !t.noSoft:
			return update("deleted_at = NULL")
		case n >= 80 && n < 85 && !isViewer:
			return []string{fmt.Sprintf("DELETE FROM %s WHERE %s", name, where)}
		case n == 85 && slices.Contains(leafTables, name):
			g.next++
			return update(fmt.Sprintf("%s = %d", t.id, g.next))
		case n == 86 && slices.Contains(leafTables, name): // another object with the same id
			insert, fresh := g.insert(t)
			return []string{fmt.Sprintf("DELETE FROM %s WHERE %s = %d", name, t.id, id), strings.Replace(insert, fmt.Sprintf("VALUES (%d,", fresh), fmt.Sprintf("VALUES (%d,", id), 1)}
		case n >= 87 && (t.insert != "" || len(t.refs) > 0):
			insert, id := g.insert(t)
			if g.chance(8) {
				return []string{insert, fmt.Sprintf("DELETE FROM %s WHERE %s = %d", name, t.id, id)}
			}
			return []string{insert}
		}
	}
}

func (g *generator) insert(t table) (string, int) {
	g.next++
	id := g.next
	g.last[t.name] = append(g.last[t.name], id)
	columns, values := []string{t.id, "version_id"}, []string{fmt.Sprint(id), "1"}
	for _, r := range t.refs {
		columns, values = append(columns, r.column), append(values, g.value(r))
	}
	if t.insert != "" {
		more := t.insert
		if strings.Contains(more, "%") {
			more = fmt.Sprintf(more, id)
		}
		moreColumns, moreValues, _ := strings.Cut(more, ") VALUES (")
		columns, values = append(columns, moreColumns), append(values, moreValues)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.name, strings.Join(columns, ", "), strings.Join(values, ", ")), id
}

// flag changes who may connect or who is superadmin. Viewers are rarely disabled: it ends their sockets.
func (g *generator) flag() string {
	id := g.id("t_users")
	if g.chance(40) && (id > viewers || g.chance(25)) {
		return fmt.Sprintf("UPDATE t_users SET user_enabled = NOT user_enabled WHERE id_user = %d", id)
	}
	return fmt.Sprintf("UPDATE t_users SET user_superadmin = NOT user_superadmin WHERE id_user = %d", id)
}

func (g *generator) bulk() []string {
	g.names++
	name := fmt.Sprintf("b%d", g.names)
	project, other, site, session := g.id("t_projects"), g.id("t_projects"), g.id("t_sites"), g.id("t_sessions")
	return pick(g, [][]string{
		{fmt.Sprintf("UPDATE t_participants SET participant_name = '%s ' || id_participant", name)},
		{fmt.Sprintf("UPDATE t_sessions SET session_name = '%s ' || id_session WHERE id_session <= %d", name, session)},
		{fmt.Sprintf("UPDATE t_participants SET id_project = %d, id_participant_group = NULL WHERE id_project = %d", other, project)},
		{fmt.Sprintf("UPDATE t_devices_sites SET deleted_at = now() WHERE id_site = %d AND deleted_at IS NULL", site)},
		{"UPDATE t_devices_sites SET deleted_at = NULL"},
		{fmt.Sprintf("UPDATE t_sessions_participants SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id_session = %d", session)},
		{fmt.Sprintf("UPDATE t_assets SET id_session = %d", session), fmt.Sprintf("UPDATE t_assets SET asset_name = '%s'", name)},
		{fmt.Sprintf("DELETE FROM t_users_users_groups WHERE id_user_group = %d", g.id("t_users_groups"))},
		// OpenTera's soft delete of a project, and of a session
		{fmt.Sprintf("UPDATE t_projects SET deleted_at = now() WHERE id_project = %d", project), fmt.Sprintf("UPDATE t_participants SET deleted_at = now() WHERE id_project = %d", project),
			fmt.Sprintf("UPDATE t_services_roles SET deleted_at = now() WHERE id_project = %d", project)},
		{fmt.Sprintf("UPDATE t_sessions_participants SET deleted_at = now() WHERE id_session = %d", session), fmt.Sprintf("UPDATE t_assets SET deleted_at = now() WHERE id_session = %d", session),
			fmt.Sprintf("UPDATE t_sessions SET deleted_at = now() WHERE id_session = %d", session)},
		{fmt.Sprintf("UPDATE t_tests SET test_name = test_name WHERE id_session = %d", session)}, // changes nothing
		// an object and what makes it visible, in one transaction
		{fmt.Sprintf("UPDATE t_sessions SET session_name = '%s' WHERE id_session = %d", name, session),
			fmt.Sprintf("INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (%d, %d, %d, 1)", 1000+g.names, session, g.id("t_participants"))},
	})
}
