// Package db connects the gateway to PostgreSQL: the pool and the listener. It knows no domain.
//
// # Two channels
//
// The Listener holds the one connection that LISTENs and only receives. On the first channel, writers announce that a transaction has
// committed changes (Hints); on the second, announcers report that rows were appended to the event log. Neither is trusted: anyone who
// can connect to the database can notify on both, and all that a notification does is make this gateway look.
//
// After a lost connection, or when more is received than is kept, the Listener reports a gap, and its users look at the tables.
//
// # Concurrency
//
// Listener.Run is one goroutine. The other methods are safe for concurrent use.
package db
