//go:build !linux

package main

// pooler: the tests' PgBouncer runs on Linux only.
func (x *chaos) pooler(databaseURL string) string { return databaseURL }

// smallDisk: a file system is mounted on Linux only.
func (x *chaos) smallDisk() {}
