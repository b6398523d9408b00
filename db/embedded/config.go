package embedded

// Config says how to start a Server. The zero value is what tests want.
type Config struct {
	// BinDir is the directory of initdb and postgres. Empty: the first of
	// PATH that has both, else the newest installed version in the places
	// where packagers put them.
	BinDir string

	// ParentDir is where the server's directory is made. Empty: the system's
	// temporary directory, or /tmp where that one's path is too long for a
	// unix socket or closed to the user that runs PostgreSQL.
	ParentDir string

	// Port is the TCP port on 127.0.0.1. 0: a free one.
	Port int

	// Settings are more lines for postgresql.conf, by name; values are not
	// quoted. They win over the package's own: max_connections 200,
	// max_prepared_transactions 20, fsync, synchronous_commit and
	// full_page_writes off. Nil: none.
	Settings map[string]string
}
