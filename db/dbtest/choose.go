package dbtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// chosen is the environment variable that selects the server to test with: a major version ("14"), as script/postgres installs it, or the
// directory of its programs.
const chosen = "TERASOCKET_TEST_POSTGRES"

// Choose puts the server programs of TERASOCKET_TEST_POSTGRES first in PATH, where package embedded and the tests look for programs.
// [Main] and [Suite] call it.
func Choose() error {
	name := os.Getenv(chosen)
	if name == "" {
		return nil
	}
	bin, err := binDir(name)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", chosen, name, err)
	}
	return os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// binDir returns the directory of initdb and postgres.
func binDir(name string) (string, error) {
	places := []string{name}
	if _, err := strconv.Atoi(name); err == nil {
		places = []string{"/var/cache/terasocket/postgres/" + name + "/bin", "/usr/lib/postgresql/" + name + "/bin"}
		if cache, err := os.UserCacheDir(); err == nil {
			places = append([]string{filepath.Join(cache, "terasocket", "postgres", name, "bin")}, places...)
		}
		if os.Geteuid() == 0 { // the user that runs the server cannot read root's cache
			places = places[1:]
		}
	}
	for _, dir := range places {
		if info, err := os.Stat(filepath.Join(dir, "initdb")); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no initdb in %v; script/postgres MAJOR installs a server", places)
}
