package ws

import "time"

// bucket is a token bucket: a burst of perMinute, refilled at perMinute a minute. Every connection has two, and it is smaller
// than a rate.Limiter. Not safe for concurrent use.
type bucket struct {
	spent float32
	at    time.Duration // since the connection was opened
}

// take spends one token and reports whether there was one.
func (b *bucket) take(at time.Duration, perMinute int) bool {
	regained := float32((at - b.at).Minutes()) * float32(perMinute)
	b.spent, b.at = max(0, b.spent-regained), at
	if b.spent+1 > float32(perMinute) {
		return false
	}
	b.spent++
	return true
}
