// Package db is the plumbing between PostgreSQL and the gateway: the pool, the listener, and the reader of the event log.
// It knows no domain: a Row is what a transaction wrote to terasocket.events, and what is in it is for others to know.
//
// # From a commit to a batch
//
// The Listener holds the one connection that LISTENs and does nothing but receive. Each notification is a Hint: rows
// first..last of transaction xid are there to be read. A hint is never believed further than that: anyone who can connect
// to the database can send one, and all that it can do is make the Feed read.
//
// The Feed reads the rows of everything pending with one statement, and with another what their snapshots see and nothing
// announced, in the order in which the notifications came, which
// is the order of the commits. It never reads a row twice: it knows which it has handed out.
//
// # What may go wrong, and why nothing is lost
//
// seq is not the order of commits: a transaction that took seq 10 may commit after seq 11 was handed out. So the Feed's
// cursor is a snapshot (pg_current_snapshot), not a number: every row of a transaction that the cursor sees has been
// handed out; of the others, those in Feed.done have.
//
//  1. The connection is lost, or the queue of hints overflows: LISTEN again, then read every row that the cursor does
//     not see and that was not handed out; then go on. Transactions that were open at that moment notify later.
//  2. A notification does not come (a full queue, a prepared transaction): every few seconds the Feed looks for rows of
//     transactions that ended before its last look, and hands out what no notification announced. It does so too before
//     it hands out a row whose snapshot sees more than the cursor: a client's cursor is the last row that it heard, and
//     when it comes back it is told what the snapshot of that row does not see.
//  3. The database fails over to another timeline, has forgotten in a crash what it had committed asynchronously, or rows
//     are trimmed before they were handed out, or may be: nobody can say what is missing. Next says ErrBroken, and every
//     cursor of the former timeline is one that the log does not hold.
//  4. A statement fails: nothing has moved, the next call of Next does the same again.
//
// # Concurrency
//
// Listener.Run is one goroutine. Feed.Next is for one goroutine at a time.
package db
