package dbtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// chosen is the environment variable that names the server to test with: a major ("14"), as script/postgres installs it, or
// the directory of its programs.
const chosen = "TERASOCKET_TEST_POSTGRES"

// Choose puts the server programs that TERASOCKET_TEST_POSTGRES names first in PATH, where package embedded looks first and
// the programs that a test starts look too. [Main] and [Suite] call it.
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

// binDir finds the directory of initdb and postgres.
func binDir(name string) (string, error) {
	places := []string{name}
	if _, err := strconv.Atoi(name); err == nil {
		places = []string{"/var/cache/terasocket/postgres/" + name + "/bin", "/usr/lib/postgresql/" + name + "/bin"}
		if cache, err := os.UserCacheDir(); err == nil {
			places = append([]string{filepath.Join(cache, "terasocket", "postgres", name, "bin")}, places...)
		}
		if os.Geteuid() == 0 { // root's own cache is closed to the user that runs the server
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
