//go:build !linux

package chaos

// pooler: the tests' PgBouncer runs on Linux only.
func (x *suite) pooler(databaseURL string) string { return databaseURL }

// smallDisk: mounting works on Linux only.
func (x *suite) smallDisk() {}
