package dbtest

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// shared is the server of this test process. It is the package's one global:
// testing gives no other way from TestMain to a test.
var shared = newCluster()

// Main runs the tests of a package, then removes what they left on the server
// and the server itself. It returns the exit code.
func Main(m *testing.M) int { return Suite(m).Run() }

// Suite is Main for those who want to do more in TestMain:
//
//	goleak.VerifyTestMain(m) becomes goleak.VerifyTestMain(dbtest.Suite(m))
func Suite(m *testing.M) interface{ Run() int } { return suite{m} }

// Many is how often a test does what it does many times: the first number, with -short (make test) the second.
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
