package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// longBusy is how long a session may last before it is suspicious.
const longBusy = 12 * time.Hour

// nobodyIsBusyForEver lists people in a session that nobody will end: its service has died, or OpenTera does not know it.
// (People leave ended sessions automatically.)
func (d *doctor) nobodyIsBusyForEver(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT format('%s %s since %s in session %s', kind, uuid, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
		session_uuid || CASE WHEN status IS NULL THEN ', which OpenTera does not know' ELSE '' END)
		FROM terasocket.who_is_busy() WHERE since < clock_timestamp() - $1::interval ORDER BY since`, longBusy)
	if err != nil {
		return Finding{}, err
	}
	stuck, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(stuck) > 0 {
		return warn(fmt.Sprintf("in a session for more than %s: %s", longBusy, few(stuck)),
			"end the session in OpenTera; where that does not help: `terasocket busy list`, and `terasocket busy end session UUID`"), err
	}
	return fine("nobody has been in a session for more than %s", longBusy), err
}
