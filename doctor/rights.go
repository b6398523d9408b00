package doctor

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"terasocket/migrations"
)

// rightsChecks check the rights of serve's role, and of PUBLIC.
func (d *doctor) rightsChecks() []check {
	return []check{
		{name: "rights", needs: []string{"opentera"}, ask: d.serving.asks(d.mayServe)},
		{name: "statements", needs: []string{"migrations", "rights"}, ask: d.serving.asks(statementsAreUnderstood)},
		{name: "owner-rights", needs: []string{"opentera"}, ask: d.serving.asks(ownerMayRead)},
		{name: "public-rights", needs: []string{"opentera"}, ask: d.serving.asks(strangersMayNot)},
	}
}

// served lists the functions that serve calls.
var served = []string{
	"accept_otp", "address_failed", "address_wait", "announce", "change_password", "connected_many", "count_attempt",
	"create_connect_token", "device_by_token", "device_by_uuid", "device_login", "device_status", "disable_token", "disconnect",
	"disconnected_many", "end_login_session", "fill", "forget_attempts", "gateway_beat", "gateway_leave", "gateway_register", "gateway_succeed", "is_connected", "is_current", "is_filled",
	"login_session_user", "logout", "missing_triggers", "online_seen", "otp_blocked", "otp_secret", "participant_account", "participant_session_types", "poll",
	"presence_snapshot", "presence_sweep", "publish", "reconcile", "record_login", "redeem_connect_token", "redeem_connect_tokens", "refresh_capture", "replace_sockets", "server_setting", "service",
	"service_token_key", "set_aside_next", "set_otp", "signing_key", "stamp_last_online", "start_login_session", "sweep_door", "ticket_holder", "token_check",
	"user_account", "user_token_claims", "verifying_keys",
}

// Those that it calls beside a running OpenTera, with --audit-deliveries, and for the console.
var (
	bridged  = []string{"bridge_away", "bridge_lead", "bridge_leave", "bridge_reconcile", "bridge_record", "bridge_take", "bridge_untold"}
	audited  = []string{"keep_deliveries"}
	consoled = []string{"console_body", "console_find", "console_gateways", "console_log", "console_people", "explain"}
)

//go:embed sql/rights.sql
var rightsSQL string

//go:embed sql/public.sql
var publicSQL string

var notInstalled = skip("not asked: there is no schema terasocket", "run `terasocket migrate up`")

// mayServe: the owner may do everything; another role needs grants.
func (d *doctor) mayServe(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var isInstalled bool
	var role string
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'terasocket'), current_user::text").
		Scan(&isInstalled, &role); err != nil || !isInstalled {
		return notInstalled, err
	}
	with := Parts{Bridge: d.RedisURL != "", AuditDeliveries: d.AuditDeliveries}
	is, err := rightsOf(ctx, tx, role, with)
	switch {
	case err != nil:
		return Finding{}, err
	case len(is.missing) > 0:
		return fail("functions that serve calls are missing: "+few(is.missing), "see migrations; where the version is right, somebody has dropped them: "+
			"as the owner run: DELETE FROM terasocket.functions; and then `terasocket migrate up`, which makes them anew"), nil
	case len(is.grants) > 0:
		var lacking []string
		for _, right := range slices.Sorted(maps.Keys(is.lacking)) {
			lacking = append(lacking, right+" on "+few(is.lacking[right]))
		}
		command := "terasocket migrate grants " + role
		if with.Bridge {
			command += " --bridge"
		}
		if with.AuditDeliveries {
			command += " --audit-deliveries"
		}
		return fail(fmt.Sprintf("%s lacks %d rights: %s", role, len(is.grants), strings.Join(lacking, "; ")),
			fmt.Sprintf("as the owner of OpenTera's tables run `%s`, which prints the GRANTs", command)), nil
	}
	return fine("%s may do all that serve does", role), nil
}

// rights lists what a role lacks, and the statements that would grant it, one right on one object each.
type rights struct {
	missing []string            // functions that serve calls and that do not exist
	lacking map[string][]string // right -> objects
	grants  []string
}

func rightsOf(ctx context.Context, tx pgx.Tx, role string, with Parts) (rights, error) {
	functions := slices.Clone(served)
	for _, part := range []struct {
		isAsked bool
		calls   []string
	}{{with.Bridge, bridged}, {with.AuditDeliveries, audited}, {with.Console, consoled}} {
		if part.isAsked {
			functions = append(functions, part.calls...)
		}
	}
	is := rights{lacking: map[string][]string{}}
	var schema uint32
	if err := tx.QueryRow(ctx, "SELECT ("+openTeraSchema+")").Scan(&schema); err != nil {
		return is, err
	}
	rows, err := tx.Query(ctx, rightsSQL, schema, functions, role)
	if err != nil {
		return is, err
	}
	var right, object, grant string
	var priority int
	_, err = pgx.ForEachRow(rows, []any{&right, &object, &priority, &grant}, func() error {
		if right == "" {
			is.missing = append(is.missing, object)
			return nil
		}
		is.lacking[right], is.grants = append(is.lacking[right], object), append(is.grants, grant)
		return nil
	})
	return is, err
}

// Parts are what serve does only if asked.
type Parts struct {
	Bridge          bool `help:"With --redis-url."`
	AuditDeliveries bool `help:"With --audit-deliveries."`
	Console         bool `help:"With the console, all of its views."`
}

// Grants returns the statements that give a role what serve needs and it lacks, to be run by the owner of OpenTera's tables.
func Grants(ctx context.Context, databaseURL, role string, with Parts) (grants []string, err error) {
	p := &patient{flag: "the database", url: databaseURL}
	defer p.close()
	err = p.read(ctx, func(tx pgx.Tx) error {
		if err := migrations.Check(ctx, tx); err != nil {
			return err
		}
		is, err := rightsOf(ctx, tx, role, with)
		grants = is.grants
		return err
	})
	return grants, err
}

// few names the first objects; the advice names them all.
func few(objects []string) string {
	const most = 3
	if len(objects) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(objects[:most], ", "), len(objects)-most)
	}
	return strings.Join(objects, ", ")
}

// ownerMayRead: triggers and announce() run with the rights of the role that migrated. A table that an upgrade of OpenTera
// recreated as another role is closed to them; so are our own tables, if functions belong to another role.
func ownerMayRead(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT o.owner::regrole::text, format('%I.%I', n.nspname, c.relname), n.nspname = 'terasocket'
		FROM   (SELECT DISTINCT p.proowner AS owner FROM pg_proc p WHERE p.pronamespace = to_regnamespace('terasocket') AND p.prosecdef) o,
		       pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE  c.relkind = 'r' AND (c.relnamespace = (`+openTeraSchema+`) AND c.relname LIKE 't\_%' AND NOT has_table_privilege(o.owner, c.oid, 'SELECT')
		       OR n.nspname = 'terasocket' AND NOT pg_has_role(o.owner, c.relowner, 'USAGE'))
		ORDER  BY 3 DESC, 1, 2`)
	if err != nil {
		return Finding{}, err
	}
	var closed, strange []string
	var role, stranger, table string
	var isOurs bool
	_, err = pgx.ForEachRow(rows, []any{&role, &table, &isOurs}, func() error {
		if isOurs {
			strange, stranger = append(strange, table), role
		} else {
			closed = append(closed, table)
		}
		return nil
	})
	if err != nil {
		return Finding{}, err
	}
	var mighty, owner string
	if err := tx.QueryRow(ctx, mightySQL).Scan(&mighty, &owner); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Finding{}, err
	}
	switch {
	case mighty != "":
		return fail(fmt.Sprintf("functions of terasocket run with the rights of %s, who may more than %s, who owns OpenTera's tables: who is let in as %s can become %s",
			mighty, owner, owner, mighty),
			fmt.Sprintf("give all of the schema terasocket to %[1]s (ALTER SCHEMA, TABLE, SEQUENCE, VIEW, TYPE, ROUTINE ... OWNER TO %[1]s), then run `terasocket migrate up`: it works as %[1]s", owner)), nil
	case len(strange) > 0:
		return fail(fmt.Sprintf("functions of terasocket belong to %s, tables that they write do not: %s", stranger, few(strange)),
			"give all of the schema terasocket to the owner of OpenTera's tables (ALTER ... OWNER TO), then run `terasocket migrate up` as that role"), nil
	case len(closed) > 0:
		tables := strings.Join(closed, ", ")
		return fail(role+", who owns terasocket's functions, may not read "+tables, "as the owner of these tables run: GRANT SELECT ON "+tables+" TO "+role+";"), nil
	}
	return fine("the owner of terasocket's functions may read OpenTera's tables"), nil
}

// mightySQL finds an owner of our functions who is a superuser, has an attribute or is a member of a role, while the owner of
// OpenTera's tables is not: that owner could replace a table by a view that calls a function of its own.
const mightySQL = `SELECT f.oid::regrole::text, o.oid::regrole::text
FROM   pg_class t JOIN pg_roles o ON o.oid = t.relowner,
       pg_roles f
WHERE  t.oid = to_regclass('t_users') AND f.oid <> o.oid AND NOT o.rolsuper
AND    f.oid IN (SELECT p.proowner FROM pg_proc p WHERE p.pronamespace = to_regnamespace('terasocket') AND p.prosecdef)
AND    (f.rolsuper OR f.rolcreaterole > o.rolcreaterole OR f.rolcreatedb > o.rolcreatedb OR f.rolreplication > o.rolreplication OR f.rolbypassrls > o.rolbypassrls
        OR EXISTS (SELECT FROM pg_roles r WHERE r.oid NOT IN (f.oid, o.oid) AND pg_has_role(f.oid, r.oid, 'MEMBER') AND NOT pg_has_role(o.oid, r.oid, 'MEMBER')))
ORDER  BY f.rolsuper DESC, 1 LIMIT 1`

func strangersMayNot(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, publicSQL)
	if err != nil {
		return Finding{}, err
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(open) > 0 {
		return fail(fmt.Sprintf("every role of the server has %s", strings.Join(open, ", ")),
			"who may execute these can pass for anybody: as the owner run: REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC; "+
				"REVOKE ALL ON ALL TABLES IN SCHEMA terasocket FROM PUBLIC;"), err
	}
	return fine("nothing is open to every role"), err
}
