package ws

import (
	"math/rand/v2"
	"time"
)

// Limits are what one connection may do and how it is kept alive. A zero field means its default.
type Limits struct {
	Backlog       int           // bytes that may wait for a socket before it is closed with 1013; 256 KiB. A frame is taken whole while less waits
	PingEvery     time.Duration // 10 s, each time 10 % more or less
	PongWait      time.Duration // without any frame for so long the socket is cut; 30 s
	CloseWait     time.Duration // how long a client may take to answer a close frame; 5 s
	OutageWait    time.Duration // how long a socket that resumes waits for a database that fails, else 1011; 1 min
	FrameSize     int64         // bytes of a message from the client, else 1009; 4 KiB
	DataFrames    int           // messages from the client a minute, else 1008; 6
	ControlFrames int           // pings and pongs from the client a minute, else 1008; 60
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

// nextPing is PingEvery give or take a tenth, so that sockets opened together are not pinged together for ever.
func (l *Limits) nextPing() time.Duration {
	return time.Duration(float64(l.PingEvery) * (0.9 + 0.2*rand.Float64()))
}
