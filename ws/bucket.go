package ws

import "time"

// bucket counts how often something may still happen: perMinute at once, and as many a minute after that.
// It is smaller than a rate.Limiter, since every connection has two. One goroutine at a time.
type bucket struct {
	spent float32
	at    time.Duration // since the connection was opened
}

// take reports whether it may happen once more at that time.
func (b *bucket) take(at time.Duration, perMinute int) bool {
	regained := float32((at - b.at).Minutes()) * float32(perMinute)
	b.spent, b.at = max(0, b.spent-regained), at
	if b.spent+1 > float32(perMinute) {
		return false
	}
	b.spent++
	return true
}
