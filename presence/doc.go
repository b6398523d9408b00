// Package presence tells the database which sockets this gateway holds. The database decides from that who is online, for
// the whole cluster, and announces it through the event log (migration 0003).
//
// # What the Registry does
//
//	Connected, left   note that a socket is open or has ended; they never wait. What is to be told waits in a queue
//	the writer        tells the database, many sockets with one statement, until it is told
//	the lease         is renewed every third of its time. When others have given this gateway up for dead, it registers
//	                  again and tells of all its sockets again
//	the sweep         takes offline whose grace is over, and the sockets of gateways whose lease is
//
// # Invariants
//
//  1. A socket is told of as open before it is told of as ended. One that ends before it was told of need not be; one that
//     ends while nobody knows whether it was is told of again first: a statement that is still under way would be recorded last.
//  2. Nothing is told twice: a socket has a number, so that a statement whose answer was lost can be repeated.
//  3. No socket waits for the database, and none is closed because the database is away.
//  4. A gateway that did not keep its own lease without a break does not call others dead: after an outage of the database,
//     everybody's lease is over.
//
// # Concurrency
//
// All methods may be called at once. Run has three goroutines and waits for them.
package presence
