// Package ws is the websocket side of the gateway: it admits clients, tracks the sockets of each principal, and writes each
// event to the sockets that may see it. Traffic is one-way, server to client.
//
// # From a handshake to a socket
//
// Handler checks the request, redeems the connect token through a TokenRedeemer and enters a Conn into the Hub before it writes
// the 101, so that a client misses nothing from the moment it is connected. For the first socket of a principal the Hub asks
// Standings what the principal holds as of a position of the log; later sockets join the same room. The Conn writes through an
// Outbox, which sits under TLS and never blocks, and has one goroutine of its own, which reads.
//
// Connections that have not completed the handshake are bounded too: beyond a limit, SocketListener cuts one.
//
// # From the log to the sockets
//
// Dispatcher takes events from a Source in the order of seq and hands each to the Hub. The Hub applies it to an access.Index of
// what the connected principals hold, now and before, and asks the index who receives which form of it. An event is encoded
// once per form and encoding in use. If the socket can take the frame at once, it is written immediately; otherwise it waits in
// the socket's Outbox, whose flusher hands everything queued to the kernel in one write.
//
// A client that passes since first receives what it missed: pages of the ReplayLog, shared by all resuming clients and filtered
// by what its principal held then and holds now. Live frames are held back until the replay is done.
//
// # Concurrency
//
// Hub, Conn, Frames and Outbox are safe for concurrent use; Dispatcher.Run is one goroutine. Locks are taken in the order
// Hub.delivering, Hub.mu, Frames, Conn, (websocket, TLS), Outbox. No lock is held while waiting for a client, the database or
// the network.
//
// What runs, and what ends it:
//
//	reading goroutine   one per connection, from the 101 to the end of the socket; Hub.Drain waits for all of them.
//	                    It tells Presence that the socket opened and ended, so Presence is complete after Drain
//	resuming goroutine  one per resuming connection, until it is up to date or ends; the reading goroutine waits for it
//	page reader         one per Handler while a client waits for a page of the log
//	flusher             while bytes wait for a socket; ends when all are sent, at a write error, or SocketListener.Linger
//	                    after the close
//	ping timer          one per connection, no goroutine; stopped by the first close frame or the end
//	Dispatcher.Run      until its context ends; the rounds of cursors and the look-ups of disabled principals end with it
//
// # Invariants
//
//  1. The order of seq is the order on every socket.
//  2. A socket gets an event at most once live, and nothing after a close frame.
//  3. Until the holdings of a principal as of a seq are known, it receives nothing after that seq.
//  4. A socket that misses an event is closed: with CloseSlow if it was slow, otherwise with CloseInternal. No event is
//     lost silently.
//  5. Every Conn that entered the Hub is removed once: by its reading goroutine, or by the handshake that failed.
//  6. The index holds the principals of live rooms and no others.
//  7. A token is redeemed only after all other checks of the handshake have passed.
//  8. Tokens, URLs and payloads are never logged, and no metric label names a person.
package ws
