package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// mountTmpfs makes a file system of this size for the server whose data directory this is. It goes with the test.
func mountTmpfs(t testing.TB, data, size string) (dir string, err error) {
	if os.Geteuid() != 0 {
		return "", errors.New("mounting a file system needs root")
	}
	info, err := os.Stat(data)
	if err != nil {
		return "", fmt.Errorf("the server is not on this machine: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if dir, err = os.MkdirTemp("/tmp", "terasocket-small-disk-"); err != nil { // t.TempDir is closed to the server
		return "", err
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%s,uid=%d,gid=%d,mode=700", size, owner.Uid, owner.Gid), "tmpfs", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("mount: %w: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir, nil
}

// smallDisk makes a tablespace on a file system of its own, of a megabyte, and a database whose event log is in it.
func smallDisk(t *testing.T) (databaseURL string) {
	t.Helper()
	admin := dbtest.Conn(t, dbtest.New(t, migrated())) // outlives the database that uses the tablespace
	var data string
	if err := admin.QueryRow(t.Context(), "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	dir, err := mountTmpfs(t, data, "1m")
	if err != nil {
		t.Skip(err)
	}
	name := strings.ReplaceAll(filepath.Base(dir), "-", "_")
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", name, dir)); err != nil {
		t.Fatal(err)
	}
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
	psql(t, databaseURL, "ALTER TABLE terasocket.events SET TABLESPACE "+name)
	psql(t, databaseURL, "CREATE TABLE filler (x text) TABLESPACE "+name)
	return databaseURL
}

// When there is no room left for the event log, OpenTera goes on, and what clients did not hear of is counted, to the
// last change. When there is room again, all goes on.
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
	written := 0
	write := func() {
		t.Helper()
		written++
		if _, err := writer.Exec(t.Context(), "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", fmt.Sprint("n", written)); err != nil {
			t.Fatalf("OpenTera's write %d failed: %v", written, err)
		}
	}
	for range 20 {
		write()
	}
	for {
		if _, err := writer.Exec(t.Context(), "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 7)"); err != nil {
			if !strings.Contains(err.Error(), "53100") {
				t.Fatal(err)
			}
			break
		}
	}
	for warnings == 0 && written < 2000 { // the last page has room left
		write()
	}
	for range 30 {
		write()
	}
	if warnings < 30 {
		t.Fatalf("%d warnings after %d writes", warnings, written)
	}
	gateway.waitReady(200, "ready")
	lost := 0
	if err := writer.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.capture_errors WHERE sqlstate = '53100' AND table_name = 't_participants'").Scan(&lost); err != nil {
		t.Fatal(err)
	}
	if lost != warnings {
		t.Errorf("%d errors recorded, %d warnings", lost, warnings)
	}
	gateway.waitFor(func(v string) bool { n, err := strconv.Atoi(v); return err == nil && n >= lost }, "terasocket_capture_errors_total")

	if _, err := writer.Exec(t.Context(), "DROP TABLE filler"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		write()
	}
	if _, err := writer.Exec(t.Context(), "UPDATE t_participants SET participant_name = 'the end' WHERE id_participant = 1"); err != nil {
		t.Fatal(err)
	}
	heard, last := 0, 0
	for {
		_, d := paul.event()
		if strings.Contains(d.GetObjectValue(), `"the end"`) {
			break
		}
		_, number, _ := strings.Cut(d.GetObjectValue(), `"participant_name": "n`)
		number, _, _ = strings.Cut(number, `"`)
		n, err := strconv.Atoi(number)
		if err != nil || n <= last {
			t.Fatalf("heard %q after %d", number, last)
		}
		heard, last = heard+1, n
	}
	if heard+lost != written || last != written {
		t.Errorf("of %d changes %d were heard, to number %d, and %d recorded as lost", written, heard, last, lost)
	}
	gateway.login(opentera.DemoSuperadmin, "")
}
