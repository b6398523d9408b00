package ws

import (
	"math/rand/v2"
	"time"
)

// Limits bounds one connection and sets how it is kept alive. A zero field means its default.
type Limits struct {
	Backlog       int           // bytes that may wait for a socket before it is closed with 1013; 256 KiB. A frame is taken whole while less waits
	PingEvery     time.Duration // 10 s, give or take 10 %
	PongWait      time.Duration // without any frame for this long the socket is cut; 30 s
	CloseWait     time.Duration // how long a client may take to answer a close frame; 5 s
	OutageWait    time.Duration // how long a resuming socket waits for a failing database before 1011; 1 min
	FrameSize     int64         // bytes of a message from the client, more is 1009; 4 KiB
	DataFrames    int           // messages from the client a minute, more is 1008; 6
	ControlFrames int           // pings and pongs from the client a minute, more is 1008; 60
}

func (l Limits) withDefaults() Limits {
	def(&l.Backlog, 256<<10)
	def(&l.PingEvery, 10*time.Second)
	def(&l.PongWait, 30*time.Second)
	def(&l.CloseWait, 5*time.Second)
	def(&l.OutageWait, time.Minute)
	def(&l.FrameSize, 4<<10)
	def(&l.DataFrames, 6)
	def(&l.ControlFrames, 60)
	return l
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// nextPing is PingEvery give or take a tenth, so that sockets opened together do not stay in step.
func (l *Limits) nextPing() time.Duration {
	return time.Duration(float64(l.PingEvery) * (0.9 + 0.2*rand.Float64()))
}
