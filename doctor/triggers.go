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

// attachTodo repairs triggers and indexes on OpenTera's tables.
const attachTodo = "at a quiet moment (it locks these tables), as the owner of OpenTera's tables, run: SELECT terasocket.attach();"

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
	var enable string // of triggers on our own tables
	isTheirs, isGone := false, false
	var table string
	var isOurs bool
	var missing, disabled []string
	_, err = pgx.ForEachRow(rows, []any{&table, &isOurs, &missing, &disabled}, func() error {
		isTheirs = isTheirs || !isOurs
		if len(missing) > 0 {
			isGone = isGone || isOurs
			wrong = append(wrong, table+" lacks "+strings.Join(missing, ", "))
		}
		if len(disabled) > 0 {
			wrong = append(wrong, table+" has disabled "+strings.Join(disabled, ", "))
		}
		for _, name := range disabled {
			if isOurs {
				enable += fmt.Sprintf(" ALTER TABLE terasocket.%s ENABLE TRIGGER %s;", table, name)
			}
		}
		return nil
	})
	found := strings.Join(wrong, "; ") + ": changes of these tables are not announced"
	switch {
	case err != nil || len(wrong) == 0:
		return fine("all there and enabled"), err
	case isGone:
		return fail(found, "a part of terasocket was taken away: `terasocket migrate down 99`, then `terasocket migrate up`"), nil
	case isTheirs:
		return fail(found, "let clients read again by REST afterwards; "+attachTodo+enable), nil
	}
	return fail(found, "as the owner run:"+enable), nil
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
