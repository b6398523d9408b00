package main

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of the log.
const (
	maxLogWaiting = 1 << 20                // bytes that may wait for the log's reader
	logFlushWait  = 500 * time.Millisecond // limit for the rest at the end of the program
)

// logQueue decouples the log from its reader: nothing ever waits for it. One goroutine writes; while it is blocked, lines
// queue, up to 1 MiB. Further lines, and those that cannot be written, are dropped and counted.
type logQueue struct {
	out  io.Writer
	log  *slog.Logger // reports the dropped lines, in a line of its own
	wake chan struct{}
	done chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	waiting []byte
	lines   uint64 // lines in waiting
	lost    uint64
	told    uint64 // dropped lines already reported
	closed  bool
}

// newLogQueue starts the goroutine; Close ends it.
func newLogQueue(out io.Writer) *logQueue {
	q := &logQueue{out: out, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// say sets the logger that reports dropped lines.
func (q *logQueue) say(log *slog.Logger) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log = log
}

// Write queues one line. It never blocks and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if len(q.waiting)+len(line) > maxLogWaiting {
		q.lost++
	} else {
		q.waiting = append(q.waiting, line...)
		q.lines++
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Lost returns the number of dropped lines.
func (q *logQueue) Lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// Close writes the queued lines, for half a second at most; after that the goroutine ends with the program.
func (q *logQueue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	select {
	case <-q.done:
	case <-time.After(logFlushWait):
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	var batch []byte
	for range q.wake {
		for {
			var lines uint64
			var closed bool
			batch, lines, closed = q.take(batch)
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			_, err := q.out.Write(batch)
			q.written(lines, err)
		}
	}
}

// take swaps the queue for an empty buffer.
func (q *logQueue) take(empty []byte) (batch []byte, lines uint64, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, lines = q.waiting, q.lines
	q.waiting, q.lines = empty[:0], 0
	return batch, lines, q.closed
}

// written counts failures, and reports dropped lines once there is a reader again.
func (q *logQueue) written(lines uint64, err error) {
	q.mu.Lock()
	if err != nil {
		q.lost += lines
	}
	if err != nil || len(q.waiting) > maxLogWaiting/2 { // no room for the report
		q.mu.Unlock()
		return
	}
	lost := q.lost - q.told
	q.told = q.lost
	log := q.log
	q.mu.Unlock()
	if lost > 0 && log != nil {
		log.Warn("log lines lost: nobody read them in time", "lines", lost)
	}
}

// lostLines exports the number of dropped lines.
func (c *serveCmd) lostLines() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "terasocket_log_lines_lost_total",
		Help: "Lines of the program's log that were lost, since nobody read them in time.",
	}, func() float64 {
		if c.lost == nil {
			return 0
		}
		return float64(c.lost())
	})
}
