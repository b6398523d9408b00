package dbtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The tests run on the chosen major version.
func TestChosenServer(t *testing.T) {
	t.Parallel()
	major, err := strconv.Atoi(os.Getenv(chosen))
	if err != nil || os.Getenv("DATABASE_URL") != "" {
		t.Skip(chosen + " names no major")
	}
	var version int
	if err := Conn(t, New(t, Empty())).QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version/10_000 != major {
		t.Errorf("the server is of version %d, want major %d", version, major)
	}
}

func TestChoose(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "initdb"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/before")
	t.Setenv(chosen, dir)
	if err := Choose(); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("PATH"); path != dir+":/before" {
		t.Errorf("PATH is %s", path)
	}
	for _, none := range []string{"7", "fourteen", t.TempDir()} {
		t.Setenv(chosen, none)
		if err := Choose(); err == nil || !strings.Contains(err.Error(), "script/postgres MAJOR") || !strings.Contains(err.Error(), chosen+"="+none) {
			t.Errorf("%s: %v", none, err)
		}
	}
}
