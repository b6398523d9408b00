// Package audit records which events were sent to whom (serve --audit-deliveries, table terasocket.deliveries), and answers queries about
// it. It never records the contents of an event.
//
// # What counts as sent
//
// Whatever the kernel has accepted for the socket, even a part of a frame: package ws says when. Whether the client has read it is
// unknown. A row names exactly the events that were sent; unsent seqs in between are in no range. Frames of the presence snapshot have no
// seq and are counted. A DB_DELETE, which has only an object's keys, is told apart from the event itself.
//
// # From a socket to a row
//
//	the trail      of each socket notes, in memory, what was sent since it was last emptied
//	the recorder   empties all trails every few seconds into rows, and writes them with as few statements as possible
//	the weeks      are created ahead, and dropped, by terasocket.keep_deliveries(), once an hour, by every gateway
//
// # Invariants
//
//  1. A socket never waits for the recorder, nor does the recorder's memory grow beyond a bound: what does not fit is lost, counted and
//     logged as an error.
//  2. A row whose answer was lost is written again, and recorded once: its number identifies it.
//  3. A gateway that dies without a word loses the deliveries of some seconds that it has not recorded.
//  4. The console shows the contents of an event only after the row about it is written.
//
// # Concurrency
//
// All methods are safe for concurrent use. Locks are taken in the order trail, Recorder.
package audit
