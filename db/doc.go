// Package db is the plumbing between PostgreSQL and the gateway: the pool, and the listener. It knows no domain.
//
// # Two channels
//
// The Listener holds the one connection that LISTENs and does nothing but receive. On the first channel writers say that a
// transaction has committed changes (Hints), on the second somebody says that an announcement has appended rows to the
// event log. Neither is believed any further: anyone who can connect to the database can send both, and all that they can
// do is make this gateway look.
//
// When the connection was lost, or more is heard than is kept, the Listener says so, and whoever asks looks at the tables.
//
// # Concurrency
//
// Listener.Run is one goroutine. What it heard may be taken by any other.
package db
