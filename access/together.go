package access

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Together batches concurrent questions into few statements: the first one is asked at once, and those that arrive meanwhile share the
// next statement. The zero value is ready for use, and safe for concurrent use.
type Together[Q, A any] struct {
	mu      sync.Mutex
	waiting []*asking[Q, A]
	running int
}

// asking is one question, to be answered once.
type asking[Q, A any] struct {
	question Q
	answer   chan answered[A]
}

type answered[A any] struct {
	answer A
	err    error
}

const (
	togetherAtOnce = 2               // concurrent statements: one that hangs does not hold up everybody
	togetherMost   = 200             // questions per statement
	togetherWait   = 5 * time.Second // time limit of a statement
)

// Do asks q, together with concurrent questions: ask answers several, each at its index, or fails for all. Its context is independent of
// the callers', so that one who leaves does not cancel the others. Errors: those of ctx and ask.
func (t *Together[Q, A]) Do(ctx context.Context, q Q, ask func(context.Context, []Q) ([]A, error)) (answer A, err error) {
	one := &asking[Q, A]{q, make(chan answered[A], 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, one)
	if t.running < togetherAtOnce {
		t.running++
		go t.run(ask)
	}
	t.mu.Unlock()
	select {
	case got := <-one.answer:
		return got.answer, got.err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(other *asking[Q, A]) bool { return other == one })
	return answer, ctx.Err()
}

// run asks until no question is waiting.
func (t *Together[Q, A]) run(ask func(context.Context, []Q) ([]A, error)) {
	for {
		t.mu.Lock()
		n := min(togetherMost, len(t.waiting))
		some := slices.Clone(t.waiting[:n])
		if t.waiting = t.waiting[n:]; len(t.waiting) == 0 {
			t.waiting = nil
		}
		if n == 0 {
			t.running--
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		questions := make([]Q, n)
		for i, one := range some {
			questions[i] = one.question
		}
		ctx, cancel := context.WithTimeout(context.Background(), togetherWait)
		answers, err := ask(ctx, questions)
		cancel()
		for i, one := range some {
			if err != nil {
				one.answer <- answered[A]{err: err}
			} else {
				one.answer <- answered[A]{answer: answers[i]}
			}
		}
	}
}
