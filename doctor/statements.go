package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/audit"
	"terasocket/bridge"
	"terasocket/eventlog"
	"terasocket/presence"
)

// servedStatements returns serve's statements, by package and file.
func servedStatements() map[string]string {
	all := map[string]string{}
	for room, statements := range map[string]map[string]string{"access": access.Statements(), "audit": audit.Statements(), "bridge": bridge.Statements(), "eventlog": eventlog.Statements(), "presence": presence.Statements()} {
		for name, text := range statements {
			all[room+"/"+name] = text
		}
	}
	return all
}

// statementsAreUnderstood has the database parse every statement of serve, without running it.
func statementsAreUnderstood(ctx context.Context, tx pgx.Tx) (Finding, error) {
	all := servedStatements()
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error { // one that fails does not end the others
			_, err := inner.Prepare(ctx, "", all[name])
			return err
		})
		if ctx.Err() != nil {
			return Finding{}, ctx.Err()
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
		}
	}
	if len(wrong) > 0 {
		return fail(fmt.Sprintf("%d of %d statements of serve are refused: %s", len(wrong), len(all), strings.Join(wrong, "; ")),
			"see rights and migrations; where both are right, run `terasocket migrate up`: it makes the functions anew"), nil
	}
	return fine("all %d of serve are understood", len(all)), nil
}
