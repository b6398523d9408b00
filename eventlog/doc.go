// Package eventlog asks for announcements of changes and reads the log of what was announced.
//
// # From a commit to an event
//
// A trigger on an OpenTera table has recorded a change, and its transaction has committed. A gateway that hears of it calls
// terasocket.announce(): the Announcer. That function takes what has committed, in one snapshot, one caller at a time in the cluster, and
// appends rows to the log (migrations/functions). Only it gives out seqs, so the log is read like a file: the Feed reads on from the last
// seq it handed out, for connected clients; the History reads from a client's cursor, for clients that resume.
//
//	Announcer   asks for announcements until every hint is covered by one
//	Feed        hands out the rows of the log, each once, in order
//	History     what clients missed, and what a principal holds at the end of the log
//	Trimmer     keeps the log within its bounds
//	Reconciler  looks for rights that were changed without a trigger
//	Progress    what is not announced or delivered yet, and since when: terasocket_lag_seconds and /readyz
//
// # Who announces
//
// Every gateway that hears a hint tries; one gets the lock. The others retry until they know that an announcement covers their hint:
// their own, or one whose snapshot sees the hint's transaction. That snapshot is read from the table together with the rows of the log;
// notifications are never trusted. A gateway whose LISTEN is down does not announce; every few seconds each of the others announces, hint
// or not.
//
// While changes come fast, one gateway polls: it announces every few milliseconds, and no writer notifies (poll.go; docs/architecture.md
// says how long a change may then wait).
//
// # What may go wrong
//
//  1. The LISTEN connection is lost: once it is back, the Listener reports a gap, the Announcer announces and the Feed reads.
//  2. An announcement fails: it is retried with fewer objects, down to one each, until the failing object is found and set aside. Nothing
//     is lost: unannounced changes stay in terasocket.changes.
//  3. The log belongs to another epoch (failover, restore, restart), or was trimmed before it was read: every read returns the epoch and
//     how far the log is trimmed. Next returns ErrBroken; the caller closes its sockets and begins anew.
//  4. A row cannot be decoded: it is skipped with a logged error, and the others go on. If the row concerns rights, the result is
//     ErrBroken, since nobody's rights are known after it.
//  5. The schema is not what this version needs: the result is ErrUnusable, /readyz reports it, and it is retried, since an operator may
//     be migrating.
//
// # Concurrency
//
// Each Run is one goroutine. Feed.Begin and Next must not be called concurrently. Everything else is safe for concurrent use.
package eventlog
