// Package audit records which events were sent to whom (serve --audit-deliveries, table terasocket.deliveries), and answers who was
// sent what. Never what is in an event.
//
// # What counts as sent
//
// What the kernel has taken for the socket, a part of a frame included: package ws says when. That the client has read it, nobody
// knows. A row names exactly the events that were sent; seqs in between, which were not, are in no range. Frames of the presence
// snapshot have no seq and are counted.
//
// # From a socket to a row
//
//	the trail      of each socket notes, in memory, what was sent since it was last emptied
//	the recorder   empties all trails every few seconds, which makes the rows, and writes them with as few statements as it can
//	the weeks      are made ahead, and dropped, by terasocket.keep_deliveries(), once an hour, by every gateway
//
// # Invariants
//
//  1. A socket never waits for the recorder, nor the recorder's memory grow beyond a bound: what does not fit is lost, counted and
//     told as an error.
//  2. A row whose answer was lost is written again and is there once.
//  3. A gateway that dies without a word loses what it has not recorded, some seconds of it.
//
// # Concurrency
//
// All methods may be called at once. Locks are taken in the order trail, Recorder.
package audit
