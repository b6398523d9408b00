package main

import (
	"net/url"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

func with(t *testing.T, databaseURL, key, value string) string {
	t.Helper()
	u := must(url.Parse(databaseURL))
	query := u.Query()
	query.Set(key, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// All of the gateway's queries work through PgBouncer with transaction pooling, except LISTEN.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "exec", "simple_protocol"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.New(t, migrated())
			pool := dbtest.Pool(t, direct)
			pooled := dbtest.PgBouncer(t, direct, "transaction").URL
			if mode != "" {
				pooled = with(t, pooled, "default_query_exec_mode", mode)
			}
			gateway := serve(t, pooled, "--listen-database-url", direct)
			gateway.dbURL = direct
			gateway.waitReady(200, "ready")

			paul := gateway.login(opentera.DemoProjectAdmin, "&snapshot=1")
			json := gateway.login(opentera.DemoSuperadmin, "&encoding=json")
			names := writes(t, pool, "live", 50)
			cursor := paul.mustHearLast(names...).Seq
			json.frame()
			_ = paul.conn.Close()
			names = append(writes(t, pool, "missed", 50), `É \"'\\ é`) // as in JSON
			dbtest.Exec(t, pool, "UPDATE t_participants SET participant_name = 'É \"''\\ é' WHERE id_participant = 1")
			paul = gateway.resume(cursor)
			paul.mustHearLast(names...)
			dbtest.Exec(t, pool, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket listener' AND datname = current_database()")
			paul.mustHearLast(writes(t, pool, "after a catch-up", 20)...)
			gateway.waitFor(is("1"), "terasocket_database_up")
			for _, name := range []string{"terasocket_announce_errors_total", "terasocket_source_errors_total", "terasocket_events_refused_total"} {
				if n := gateway.value(name); n != "0" {
					t.Errorf("%s is %s", name, n)
				}
			}
			gateway.mustStop()
			for line := range strings.Lines(gateway.Log.String()) {
				if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") &&
					!strings.Contains(line, "listener lost its connection") && !strings.Contains(line, "sockets cut off") { // these clients do not answer close frames
					t.Errorf("the log says %s", line)
				}
			}
		})
	}
}

// LISTEN receives nothing through PgBouncer with transaction pooling: the gateway does not start. With session pooling
// everything works.
func TestListenThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	for name, env := range map[string]map[string]string{
		"all":    {"DATABASE_URL": dbtest.PgBouncer(t, direct, "transaction").URL},
		"listen": {"DATABASE_URL": direct, "TERASOCKET_LISTEN_DATABASE_URL": dbtest.PgBouncer(t, direct, "transaction").URL},
	} {
		got := command(t.Context(), env, "serve", "--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "")
		if got.code != 1 || !strings.Contains(got.stderr, "pooler of transactions") || !strings.Contains(got.stderr, "--listen-database-url") {
			t.Errorf("%s through the pooler: %+v", name, got)
		}
	}
	gateway := serve(t, dbtest.PgBouncer(t, direct, "session").URL)
	gateway.dbURL = direct
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	paul.mustHearLast(writes(t, dbtest.Pool(t, direct), "by sessions", 20)...)
}
