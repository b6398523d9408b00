// Package load is what `terasocket bench` measures with: many websockets that are read for next to nothing, a bare server to
// compare with, and what processes used of CPU and memory. It works on Linux alone.
package load

import "time"

// Mark precedes the ten digits that number an event, in the text of every frame that counts.
const Mark = "bench event "

// markDigits is how many digits a number has.
const markDigits = 10

// Arrival is an event at one client.
type Arrival struct {
	Event int
	At    time.Time
}
