package dbtest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// shared is the server of this test process. It is the package's one global:
// testing gives no other way from TestMain to a test.
var shared = &cluster{templates: map[string]*filled{}}

// Main runs the tests of a package, then removes what they left on the server
// and the server itself. It returns the exit code.
func Main(m *testing.M) int { return Suite(m).Run() }

// Suite is Main for those who want to do more in TestMain:
//
//	goleak.VerifyTestMain(m) becomes goleak.VerifyTestMain(dbtest.Suite(m))
func Suite(m *testing.M) interface{ Run() int } { return suite{m} }

type suite struct{ m *testing.M }

func (s suite) Run() int {
	if err := Choose(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		return 1
	}
	code := s.m.Run()
	var self, kids syscall.Rusage
	stopErr := shared.stop()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &self)
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &kids)
	f, _ := os.OpenFile("/tmp/tmp-ten/rusage", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); fmt.Fprintf(f, "RUSAGE clones %d self user %.1f sys %.1f children user %.1f sys %.1f\n", shared.count.Load(), float64(self.Utime.Nano())/1e9, float64(self.Stime.Nano())/1e9, float64(kids.Utime.Nano())/1e9, float64(kids.Stime.Nano())/1e9)
	if err := stopErr; err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		return max(code, 1)
	}
	return code
}
