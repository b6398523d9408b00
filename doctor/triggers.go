package doctor

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// triggerChecks ask whether every change is still recorded: a table that OpenTera's upgrade has made anew has lost its
// triggers and indexes.
func (d *doctor) triggerChecks() []check {
	return []check{
		{name: "triggers", needs: []string{"migrations"}, ask: d.owning.asks(triggersFire)},
		{name: "replication-role", needs: []string{"database"}, ask: d.owning.asks(triggersAreOn)},
		{name: "indexes", needs: []string{"migrations"}, ask: d.owning.asks(indexesAreThere)},
	}
}

//go:embed sql/triggers.sql
var triggersSQL string

// attachTodo repairs triggers and indexes on OpenTera's tables, all or none. Without the time limit, all of OpenTera would
// wait behind it while it waits for the longest transaction.
const attachTodo = "at a quiet moment (it locks OpenTera's tables), as their owner run: SET lock_timeout = '10s'; SELECT terasocket.attach();"

// ownTriggers make those on our own tables, as the migrations do.
var ownTriggers = map[string]string{
	"notify": "CREATE TRIGGER notify AFTER INSERT ON terasocket.events REFERENCING NEW TABLE AS new_events " +
		"FOR EACH STATEMENT WHEN (current_setting('terasocket.notify', true) IS DISTINCT FROM 'off') EXECUTE FUNCTION terasocket.notify_events();",
	"end_grace": "CREATE TRIGGER end_grace AFTER INSERT ON terasocket.events FOR EACH ROW WHEN (NEW.type = 'opentera.protobuf.ServerCommand' " +
		"AND NEW.object_type IS NOT NULL AND NEW.object_id IS NOT NULL) EXECUTE FUNCTION terasocket.end_grace();",
	"settle": "CREATE CONSTRAINT TRIGGER settle AFTER INSERT ON terasocket.pending DEFERRABLE INITIALLY DEFERRED " +
		"FOR EACH ROW EXECUTE FUNCTION terasocket.settle();",
}

func triggersFire(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var schema uint32
	if err := tx.QueryRow(ctx, openTeraSchema).Scan(&schema); err != nil {
		return Finding{}, err
	}
	rows, err := tx.Query(ctx, triggersSQL, schema)
	if err != nil {
		return Finding{}, err
	}
	var wrong []string
	var mend string // of triggers on our own tables
	isTheirs := false
	var table string
	var isOurs bool
	var missing, disabled []string
	_, err = pgx.ForEachRow(rows, []any{&table, &isOurs, &missing, &disabled}, func() error {
		isTheirs = isTheirs || !isOurs
		if len(missing) > 0 {
			wrong = append(wrong, table+" lacks "+strings.Join(missing, ", "))
		}
		if len(disabled) > 0 {
			wrong = append(wrong, table+" has disabled "+strings.Join(disabled, ", "))
		}
		if isOurs {
			for _, name := range missing {
				mend += " " + ownTriggers[name]
			}
			for _, name := range disabled {
				mend += fmt.Sprintf(" ALTER TABLE terasocket.%s ENABLE TRIGGER %s;", table, name)
			}
		}
		return nil
	})
	found := strings.Join(wrong, "; ") + ": changes of these tables are not announced"
	switch {
	case err != nil || len(wrong) == 0:
		return fine("all there and enabled"), err
	case isTheirs:
		return fail(found, "let clients read again by REST afterwards; "+attachTodo+mend), nil
	}
	return fail(found, "as the owner run:"+mend), nil
}

// triggersAreOn finds sessions for which triggers do not fire at all.
func triggersAreOn(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT coalesce('role ' || r.rolname, 'every role') || coalesce(' in database ' || d.datname, '')
		FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
		     unnest(s.setconfig) c WHERE c = 'session_replication_role=replica' AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	if err != nil {
		return Finding{}, err
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(who) > 0 {
		return fail("session_replication_role is replica for "+strings.Join(who, ", ")+": no trigger fires there, and no change is announced",
			"ALTER ROLE or ALTER DATABASE ... RESET session_replication_role, where OpenTera writes as that role"), err
	}
	return fine("no role writes past the triggers"), err
}

//go:embed sql/indexes.sql
var indexesSQL string

func indexesAreThere(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var schema uint32
	if err := tx.QueryRow(ctx, openTeraSchema).Scan(&schema); err != nil {
		return Finding{}, err
	}
	rows, err := tx.Query(ctx, indexesSQL, schema)
	if err != nil {
		return Finding{}, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(missing) > 0 {
		return warn("missing or not valid: "+strings.Join(missing, ", ")+": events get slower as the tables grow", attachTodo), err
	}
	return fine("all there"), err
}
