package doctor

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// triggerChecks check that every change is still recorded: a table that an upgrade of OpenTera recreated has lost its triggers
// and indexes.
func (d *doctor) triggerChecks() []check {
	return []check{
		{name: "triggers", needs: []string{"migrations"}, ask: d.owning.asks(triggersFire)},
		{name: "replication-role", needs: []string{"database"}, ask: d.owning.asks(triggersAreOn)},
		{name: "indexes", needs: []string{"migrations"}, ask: d.owning.asks(indexesAreThere)},
	}
}

// triggersFire finds triggers on OpenTera's tables that are missing or do not fire.
func triggersFire(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, "SELECT table_name, array_agg(name ORDER BY name) FROM terasocket.missing_triggers() GROUP BY 1 ORDER BY 1")
	if err != nil {
		return Finding{}, err
	}
	var wrong, mend []string
	var table string
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&table, &names}, func() error {
		wrong = append(wrong, table+" lacks "+strings.Join(names, ", "))
		mend = append(mend, "SELECT terasocket.attach_table('"+table+"');")
		return nil
	})
	if err != nil || len(wrong) == 0 {
		return fine("all there and enabled"), err
	}
	return fail(strings.Join(wrong, "; ")+": changes of these tables are not announced",
		"run `terasocket migrate up`, which waits for a free moment, and let clients read again by REST. Or, as the owner of OpenTera's tables "+
			"(it locks each), run: SET lock_timeout = '1s'; "+strings.Join(mend, " ")), nil
}

// triggersAreOn finds settings by which triggers do not fire at all.
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

func indexesAreThere(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, "SELECT index_name, statement FROM terasocket.wanted_indexes() ORDER BY 1")
	if err != nil {
		return Finding{}, err
	}
	var missing, mend []string
	var name, statement string
	_, err = pgx.ForEachRow(rows, []any{&name, &statement}, func() error {
		missing, mend = append(missing, name), append(mend, statement+";")
		return nil
	})
	if len(missing) > 0 {
		return warn("missing or not valid: "+strings.Join(missing, ", ")+": announcements get slower as the tables grow",
			"run `terasocket migrate up`. Or, as the owner of OpenTera's tables, run: "+strings.Join(mend, " ")), err
	}
	return fine("all there"), err
}
