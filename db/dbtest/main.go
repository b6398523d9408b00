package dbtest

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// shared is the server of this test process. It is the package's only global: testing offers no other way from TestMain to a test.
var shared = newCluster()

// Main runs the tests of a package, then removes the server, or what the tests left on it. It returns the exit code.
func Main(m *testing.M) int { return Suite(m).Run() }

// Suite is Main for packages that do more in TestMain:
//
//	goleak.VerifyTestMain(m) becomes goleak.VerifyTestMain(dbtest.Suite(m))
func Suite(m *testing.M) interface{ Run() int } { return suite{m} }

// Many returns the number of repetitions: long, or short with -short (make test).
func Many(long, short int) int {
	if testing.Short() {
		return short
	}
	return long
}

type suite struct{ m *testing.M }

func (s suite) Run() int {
	if err := Choose(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		return 1
	}
	code := s.m.Run()
	if err := errors.Join(shared.endLoans(), shared.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		return max(code, 1)
	}
	return code
}
