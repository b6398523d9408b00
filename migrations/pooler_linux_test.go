package migrations_test

import (
	"errors"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// A pooler is reported as the problem, whatever parameters the URL has.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, unmigrated())
	for _, mode := range []string{"transaction", "session"} {
		pooled := dbtest.PgBouncer(t, direct, mode).URL
		for _, url := range []string{pooled, pooled + "&search_path=public", pooled + "&statement_timeout=5s"} {
			if _, err := migrations.New(t.Context(), url); !errors.Is(err, migrations.ErrPooler) {
				t.Errorf("%s pooling: %v", mode, err)
			}
		}
	}
}
