// Package presence reports this gateway's sockets to the database. From them the database decides who is online in the whole cluster, and
// announces it through the event log (migration 0003).
//
// # What the Registry does
//
//	Connected, left   note that a socket is open or closed, without waiting, and queue the report
//	the writer        reports to the database, many sockets per statement, until that succeeds
//	the lease         is renewed every third of its time. If others have declared this gateway dead, it registers
//	                  again and reports all its sockets again
//	the sweep         takes principals offline whose grace is over, and the sockets of gateways whose lease has expired
//
// # Invariants
//
//  1. A socket is reported open before it is reported closed. One that closes before it was reported need not be; one that closes while
//     it is unknown whether it was is reported open again first: otherwise a statement still in progress could be recorded last.
//  2. Nothing is recorded twice: sockets are numbered, so that a statement whose answer was lost can be repeated.
//  3. No socket waits for the database, and none is closed because the database is unavailable.
//  4. A gateway that has not kept its own lease without a break declares no others dead: after an outage of the database, every lease has
//     expired.
//
// # Concurrency
//
// All methods are safe for concurrent use. Run has three goroutines and waits for them.
package presence
