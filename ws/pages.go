package ws

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// pages reads the log for all clients that resume at the same time: a page read for one answers all that need it, and the last
// pages are kept for those slightly behind. So when a thousand come back at once, the log is read once or twice, not a thousand
// times. A client that reads slowly asks rarely and delays nobody.
//
// Every other page is read for the client farthest behind, so that all converge; the others for the one that has waited
// longest, so that a client that missed little need not wait for those that missed a day.
type pages struct {
	log ReplayLog

	mu        sync.Mutex
	clients   int // that resume
	waiting   []*ask
	isReading bool   // read is running
	forget    func() // cancels the running statement
	round     int
	kept      []*sharedPage // the last pages, while any client resumes
}

const pagesKept = 4

// ask is a client's request for the page after a seq, up to a seq.
type ask struct {
	behind, until uint64
	answer        chan answer
}

type answer struct {
	page *sharedPage
	err  error
}

// sharedPage is a page with its frames, shared by clients.
type sharedPage struct {
	rows                []*Frames
	behind, last, until uint64 // all rows with behind < seq <= last; if isLast, there are none up to until either
	isLast, isTrimmed   bool
}

// answers reports whether the page has something for this request.
func (p *sharedPage) answers(a *ask) bool {
	return p.behind <= a.behind && (a.behind < p.last || p.isLast && p.until >= a.until)
}

// join registers a resuming client until left is called.
func (r *pages) join() (left func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.clients--; r.clients == 0 {
			r.kept = nil
		}
	}
}

// after returns the page that follows the seq behind. Errors: that of ctx, or the log's.
func (r *pages) after(ctx context.Context, behind, until uint64) (*sharedPage, error) {
	a := &ask{behind, until, make(chan answer, 1)}
	r.mu.Lock()
	for _, page := range r.kept {
		if page.answers(a) {
			r.mu.Unlock()
			return page, nil
		}
	}
	r.waiting = append(r.waiting, a)
	if !r.isReading {
		r.isReading = true
		go r.read()
	}
	r.mu.Unlock()
	select {
	case got := <-a.answer:
		return got.page, got.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(other *ask) bool { return other == a })
	if len(r.waiting) == 0 && r.forget != nil {
		r.forget()
	}
	return nil, ctx.Err()
}

// read is the page reader.
func (r *pages) read() {
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			r.isReading, r.forget = false, nil
			r.mu.Unlock()
			return
		}
		first := r.waiting[0]
		if r.round++; r.round%2 == 0 {
			first = slices.MinFunc(r.waiting, func(a, b *ask) int { return cmp.Compare(a.behind, b.behind) })
		}
		until := slices.MaxFunc(r.waiting, func(a, b *ask) int { return cmp.Compare(a.until, b.until) }).until
		ctx, cancel := context.WithTimeout(context.Background(), pageWait)
		r.forget = cancel
		r.mu.Unlock()
		page, err := r.page(ctx, first.behind, until)
		cancel()
		r.reply(first, page, err)
	}
}

func (r *pages) page(ctx context.Context, behind, until uint64) (*sharedPage, error) {
	page, err := r.log.After(ctx, behind, until)
	if err != nil {
		return nil, err
	}
	p := &sharedPage{behind: behind, last: page.Last, until: until, isLast: page.IsLast, isTrimmed: page.Trimmed}
	for i := range page.Events {
		p.rows = append(p.rows, NewFrames(&page.Events[i]))
	}
	return p, nil
}

// reply answers first, and all other requests that the page answers. An error goes to all that wait.
func (r *pages) reply(first *ask, page *sharedPage, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(a *ask) bool {
		isFor := a == first || err != nil || !page.isTrimmed && page.answers(a)
		if isFor {
			a.answer <- answer{page, err}
		}
		return isFor
	})
	if err == nil && !page.isTrimmed && r.clients > 0 {
		r.kept = append(r.kept, page)
		r.kept = r.kept[max(0, len(r.kept)-pagesKept):]
	}
}
