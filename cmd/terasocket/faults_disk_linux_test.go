package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// smallDisk creates a tablespace on a file system of its own, of one megabyte, and a database that keeps the captured changes
// and the log there.
func smallDisk(t *testing.T) (databaseURL string) {
	t.Helper()
	admin := dbtest.Conn(t, dbtest.New(t, dbtest.Empty())) // outlives the database that uses the tablespace
	var data string
	if err := admin.QueryRow(t.Context(), "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	dir, err := dbtest.MountTmpfs(t, data, "1m")
	if err != nil {
		t.Skip(err)
	}
	name := strings.ReplaceAll(filepath.Base(dir), "-", "_")
	dbtest.Exec(t, admin, fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", name, dir))
	t.Cleanup(func() {
		conn, err := pgx.ConnectConfig(context.Background(), admin.Config())
		if err == nil {
			_, err = conn.Exec(context.Background(), "DROP TABLESPACE "+name)
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Errorf("drop tablespace: %v", err)
		}
	})
	databaseURL = dbtest.New(t, migrated())
	for _, table := range []string{"changes", "events"} {
		psql(t, databaseURL, "ALTER TABLE terasocket."+table+" SET TABLESPACE "+name)
	}
	psql(t, databaseURL, "CREATE TABLE filler (x text) TABLESPACE "+name)
	return databaseURL
}

// With no room left for captured changes and the log, OpenTera goes on, and changes are recorded elsewhere. They are announced
// when there is room again: clients receive the present state of each object that changed.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	url := smallDisk(t)
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")

	warnings := 0
	config := must(pgx.ParseConfig(url))
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.Contains(n.Message, "was not recorded") && strings.Contains(n.Message, "53100") {
			warnings++
		}
	}
	writer, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close(context.Background()) }()
	var written []string
	write := func(participant int) {
		t.Helper()
		written = append(written, fmt.Sprintf("n%d", len(written)))
		if _, err := writer.Exec(t.Context(), "UPDATE t_participants SET participant_name = $1 WHERE id_participant = $2", written[len(written)-1], participant); err != nil {
			t.Fatalf("OpenTera's write %d failed: %v", len(written), err)
		}
	}
	for range 20 {
		write(1)
	}
	paul.mustHearLast(written...)
	for {
		if _, err := writer.Exec(t.Context(), "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 7)"); err != nil {
			if !strings.Contains(err.Error(), "53100") {
				t.Fatal(err)
			}
			break
		}
	}
	last := map[int]string{} // the final name of each
	for participant := 1; participant <= 5; participant++ {
		for before := warnings; warnings == before && len(written) < 10000; { // the last pages have room left
			write(participant)
		}
		last[participant] = written[len(written)-1]
	}
	if warnings < 5 {
		t.Fatalf("%d warnings after %d writes", warnings, len(written))
	}
	lost := dbtest.One[int64](t, writer, "SELECT count(*) FROM terasocket.capture_errors WHERE sqlstate = '53100' AND table_name = 't_participants' AND what = 'participant' AND cardinality(ids) = 1")
	if lost != int64(warnings) {
		t.Errorf("%d errors recorded, %d warnings", lost, warnings)
	}
	gateway.waitFor(func(v string) bool { n, err := strconv.ParseInt(v, 10, 64); return err == nil && n >= lost }, "terasocket_capture_errors_total")

	dbtest.Exec(t, writer, "DROP TABLE filler")
	for len(last) > 0 {
		_, d := paul.event()
		for id, name := range last {
			if strings.Contains(d.GetObjectValue(), fmt.Sprintf(`"id_participant": %d,`, id)) && strings.Contains(d.GetObjectValue(), `"`+name+`"`) {
				delete(last, id)
			}
		}
	}
	if left := dbtest.One[int64](t, writer, "SELECT count(*) FROM terasocket.capture_errors WHERE announced_at IS NULL"); left > 0 {
		t.Errorf("%d changes are not announced", left)
	}
	gateway.waitReady(http.StatusOK, "ready")
	gateway.login(opentera.DemoSuperadmin, "")
}
