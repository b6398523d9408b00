// Package ws is the websocket side of the gateway: it lets clients in, knows whose socket is which, and writes each event
// to the sockets of exactly those who may see it. Traffic is one-way, server to client.
//
// # From a handshake to a socket
//
// Handler checks the request, redeems the connect token through a Door and enters a Conn into the Hub before the 101 is
// written, so that a client misses nothing that happens after it is connected. The Conn writes through an Outbox, which
// sits under TLS and never blocks, and has one goroutine of its own, which reads.
//
// What is no websocket yet is bounded too: a Listener keeps so many connections that have not come through the handshake,
// and cuts the oldest.
//
// # From the log to the sockets
//
// Dispatcher takes batches of events from a Source, asks an Audience once per batch who may see them, and hands them to
// the Hub in order. The Hub encodes an event once per encoding in use and sends it to each socket. A socket that can take
// the frame at once is written to there and then; otherwise the frame waits in its Outbox, whose flusher takes everything
// that waits to the kernel in one write.
//
// # Concurrency
//
// Hub, Conn and Outbox are safe for concurrent use; Frames belong to one goroutine at a time; Dispatcher.Run is one
// goroutine. Locks are taken in the order Hub, Conn, (websocket, TLS), Outbox. No lock is held while waiting for a client,
// the database or the network.
//
// What runs, and what ends it:
//
//	reading goroutine   one per connection, from the 101 to the end of the socket; Hub.Drain waits for all of them.
//	                    It tells Presence of both, so that after Drain nothing is untold
//	resuming goroutine  one per connection that resumes, until it is up to date or ends; the reading goroutine waits for it
//	reader              one per Handler while somebody waits for a page of the log; ends when nobody does
//	flusher             while something waits for a socket; ends with the last byte, a write error, or Listener.Linger after the close
//	ping timer          one per connection, no goroutine; stopped by the first close frame or the end
//	Dispatcher.Run      until its context ends
//
// # Invariants
//
//  1. Deliver order is the order on every socket.
//  2. A socket gets an event of one Deliver at most once, and nothing after a close frame.
//  3. An event that may not be delivered, because nobody knows who may see it, is delivered to nobody and asked about
//     again; it is never skipped.
//  4. A socket that misses an event is closed: slow with CloseSlow, not encodable with CloseInternal. Nothing is lost
//     unknowingly.
//  5. Every Conn that was added to the Hub is removed from it once, by its reading goroutine or by the handshake that failed.
//  6. A token is redeemed only when nothing else stands against the handshake.
//  7. Tokens, URLs and payloads are never logged, and no metric names a person.
package ws
