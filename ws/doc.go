// Package ws is the websocket side of the gateway: it lets clients in, knows whose socket is which, and writes each event
// to the sockets of exactly those who may see it. Traffic is one-way, server to client.
//
// # From a handshake to a socket
//
// Handler checks the request, redeems the connect token through a TokenRedeemer and enters a Conn into the Hub before the
// 101 is written, so that a client misses nothing that happens after it is connected. The first socket of a principal asks
// Standings what it holds, as of a position of the log; later ones join its room. The Conn writes through an Outbox, which
// sits under TLS and never blocks, and has one goroutine of its own, which reads.
//
// What is no websocket yet is bounded too: a SocketListener keeps so many connections that have not come through the
// handshake, and cuts the oldest.
//
// # From the log to the sockets
//
// Dispatcher takes events from a Source, in the order of seq, and hands each to the Hub. The Hub applies it to an
// access.Index of what the connected principals hold, now and before, and asks the index who hears which form of it. An
// event is encoded once per form and encoding in use. A socket that can take the frame at once is written to there and
// then; otherwise the frame waits in its Outbox, whose flusher takes everything that waits to the kernel in one write.
//
// A client that passes since is told first what it missed: pages of the ReplayLog, shared by all who resume, judged by what
// its principal held then and holds now. Live frames are held meanwhile.
//
// # Concurrency
//
// Hub, Conn, Frames and Outbox are safe for concurrent use; Dispatcher.Run is one goroutine. Locks are taken in the order
// Hub.delivering, Hub.mu, Frames, Conn, (websocket, TLS), Outbox. No lock is held while waiting for a client, the database
// or the network.
//
// What runs, and what ends it:
//
//	reading goroutine   one per connection, from the 101 to the end of the socket; Hub.Drain waits for all of them.
//	                    It tells Presence of both, so that after Drain nothing is untold
//	resuming goroutine  one per connection that resumes, until it is up to date or ends; the reading goroutine waits for it
//	page reader         one per Handler while somebody waits for a page of the log; ends when nobody does
//	flusher             while something waits for a socket; ends with the last byte, a write error, or SocketListener.Linger
//	                    after the close
//	ping timer          one per connection, no goroutine; stopped by the first close frame or the end
//	Dispatcher.Run      until its context ends; with it the rounds of cursors, and the look-ups of who was disabled
//
// # Invariants
//
//  1. The order of seq is the order on every socket.
//  2. A socket gets an event at most once live, and nothing after a close frame.
//  3. While it is not known for sure what a principal holds as of a seq, it hears nothing behind that seq.
//  4. A socket that misses an event is closed: slow with CloseSlow, otherwise with CloseInternal. Nothing is lost
//     unknowingly.
//  5. Every Conn that entered the Hub is removed from it once: by its reading goroutine, or by the handshake that failed.
//  6. The index has the principals of live rooms, and no others.
//  7. A token is redeemed only when nothing else stands against the handshake.
//  8. Tokens, URLs and payloads are never logged, and no metric names a person.
package ws
