// Package load is the load generator of `terasocket bench`: many websockets that are cheap to read, a bare server for
// comparison, and the CPU time and memory of processes. It works on Linux only.
package load

import "time"

// Mark precedes the ten digits that number an event, in the text of every counted frame.
const Mark = "bench event "

// markDigits is the length of such a number.
const markDigits = 10

// Arrival is the arrival of an event at one client.
type Arrival struct {
	Event int
	At    time.Time
}
