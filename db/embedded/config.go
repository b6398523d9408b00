package embedded

// Config configures a Server. The zero value suits tests.
type Config struct {
	// BinDir is the directory of initdb and postgres. Empty: the first one in PATH that has both, otherwise the newest installed version
	// in the well-known places.
	BinDir string

	// ParentDir is where the server's directory is created. Empty: the system's temporary directory, or /tmp if that path is too long for
	// a unix socket or inaccessible to the user that runs PostgreSQL.
	ParentDir string

	// Port is the TCP port on 127.0.0.1. 0: a free one.
	Port int

	// Settings are additional lines for postgresql.conf, by name; values are not quoted. They override the package's own: max_connections
	// 200, max_prepared_transactions 20, fsync, synchronous_commit and full_page_writes off.
	Settings map[string]string
}
