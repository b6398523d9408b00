// Package eventlog has changes announced, and reads the log of what was announced.
//
// # From a commit to an event
//
// A trigger of OpenTera's table has recorded that something changed, and its transaction has committed. A gateway that hears
// of it calls terasocket.announce(): the Announcer. That function takes what has committed, in one snapshot, one caller at a
// time in the cluster, and appends rows to the log (migrations/functions). It alone gives out seqs, so the log is read
// like a file: the Feed reads on behind the last seq that it handed out, for those who are connected; the History reads
// behind the seq that a client has heard last, for those who come back.
//
//	Announcer   asks for announcements, until every hint that was heard is covered by one
//	Feed        hands out the rows of the log, each once, in order
//	History     what clients missed, and what a principal holds at the end of the log
//	Trimmer     keeps the log to its bounds
//	Reconciler  looks for rights that were changed behind the triggers' back
//	Progress    what is not announced or delivered yet, and since when: terasocket_lag_seconds, and /readyz
//
// # Who announces
//
// Every gateway that hears a hint tries; one gets the lock. The others try again after a moment, until they know that an
// announcement covers their hint: their own, or one whose snapshot sees the transaction of the hint. That snapshot is read
// from the table with the rows of the log; no notification is believed. A gateway whose LISTEN is down does not announce,
// and every few seconds everybody does, hint or not.
//
// While changes come fast one of them polls: it announces every few milliseconds, and no writer notifies (poll.go;
// docs/architecture.md says how long a change may wait then).
//
// # What may go wrong
//
//  1. The LISTEN connection is lost: when it is back, the Listener reports a gap; the Announcer announces, the Feed reads.
//  2. An announcement fails: it is tried again with fewer objects, each on its own, until what cannot be announced is found
//     and set aside. Nothing is lost: what was not announced is still in terasocket.changes.
//  3. The log is of another past (failover, restore, restart), or was trimmed before it was read: every read returns the
//     epoch and how far the log is trimmed. Next says ErrBroken; who follows closes its sockets and begins anew.
//  4. A row cannot be decoded: it is refused loudly and its neighbours go on; a row about rights that cannot be decoded is
//     ErrBroken, since nobody's rights are known behind it.
//  5. The schema is not what this version needs: ErrUnusable, /readyz says so, and it is tried again, since an operator may
//     be migrating.
//
// # Concurrency
//
// Run of each is one goroutine. Feed.Begin and Next are for one goroutine at a time. All else may be called by any.
package eventlog
