// Package dbtest gives each test a PostgreSQL database of its own.
//
// A database is cloned from a template (CREATE DATABASE ... TEMPLATE), which is
// filled once per test process. NOTIFY does not cross databases, so tests that
// use it run in parallel too.
//
//	func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }
//
//	func TestX(t *testing.T) {
//		t.Parallel()
//		url := dbtest.New(t, dbtest.OpenTera("opentera"))
//		conn := dbtest.Conn(t, url)
//		...
//
// Many short tests, such as the rows of a matrix, share databases, one test after another ([Lend]).
//
// The server is a throw-away one (package db/embedded), started when the first test asks for a database. If DATABASE_URL is set, that
// server is used instead: its role must be allowed to create databases; their names start with "terasocket_test_", and no other database
// is touched. TERASOCKET_TEST_POSTGRES selects an installed server: a major version (14), as script/postgres installs it, or the
// directory of its programs.
//
// Without a server, New fails the test and says what to install: skipped tests would look like passed ones.
package dbtest
