package db

import (
	"testing"
	"time"
)

// What a gateway says of its lag, step by step; times are seconds.
func TestLag(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var l lag
	for _, step := range []struct {
		name string
		do   func()
		now  int
		want float64
	}{
		{"nothing ever happened", func() {}, 1000, 0},
		{"a hint waits", func() { l.queue(at(1000)) }, 1003, 3},
		{"another behind it", func() { l.queue(at(1002)) }, 1003, 3},
		{"they are taken, not delivered", func() { l.take() }, 1004, 4},
		{"the next comes meanwhile", func() { l.queue(at(1004)) }, 1005, 5},
		{"the first are delivered", func() { l.take() }, 1005, 1},
		{"all is delivered", func() { l.take() }, 2000, 0},
		{"LISTEN is lost", func() { l.disconnected(at(2000)) }, 2010, 10},
		{"it cannot connect again", func() { l.disconnected(at(2005)) }, 2010, 10},
		{"a look finds what had ended at 2004", func() { l.looked(at(2004)) }, 2010, 6},
		{"the first look finds nothing", func() { l.looked(time.Time{}) }, 2010, 6},
		{"the next look fails", func() { l.failed(at(2009)) }, 2020, 16},
		{"LISTEN is back: the gap waits", func() { l.connected(); l.queue(at(2021)) }, 2021, 17},
		{"and is taken", func() { l.take() }, 2022, 18},
		{"and done, but looks still fail", func() { l.take() }, 2023, 14},
		{"a look works", func() { l.looked(time.Time{}) }, 2024, 0},
		{"the clock goes back", func() { l.queue(at(3000)) }, 2990, 0},
	} {
		step.do()
		if got := l.seconds(at(step.now)); got != step.want {
			t.Errorf("%s: %v s, want %v", step.name, got, step.want)
		}
	}
}
