package gatewaytest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"terasocket/db/dbtest"
)

// program is what Main builds for the tests of a package.
var program struct {
	flags     []string
	once      sync.Once
	dir, path string
	err       error
}

// Main is dbtest.Main for packages whose tests call Program: it sets the flags of go build, and removes the program.
func Main(m *testing.M, flags ...string) (code int) {
	program.flags = flags
	defer func() { _ = os.RemoveAll(program.dir) }()
	return dbtest.Main(m)
}

// Program builds the program, once per test process, and returns its path.
func Program() (path string, err error) {
	program.once.Do(func() {
		// "go test" caches a result while the files that a test looked at are unchanged
		_ = filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.Name() == ".git" {
				return filepath.SkipDir
			}
			return err
		})
		if program.dir, program.err = os.MkdirTemp("", "terasocket-test-"); program.err != nil {
			return
		}
		program.path = filepath.Join(program.dir, "terasocket")
		args := append(append([]string{"build"}, program.flags...), "-o", program.path, "terasocket/cmd/terasocket")
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build: %w: %s", err, out)
		}
	})
	return program.path, program.err
}
