//go:build !linux

package chaos

// pooler: the tests' PgBouncer runs on Linux only.
func (x *suite) pooler(databaseURL string) string { return databaseURL }

// smallDisk: a file system is mounted on Linux only.
func (x *suite) smallDisk() {}
