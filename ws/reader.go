package ws

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

// reader reads the log for all clients that resume. It reads a page at a time, asks for its audience once, and answers
// everybody who waits for something in it: when a thousand come back at once, the log is read once or twice, not a
// thousand times. Who reads slowly asks seldom, and holds up nobody.
//
// Every other page is for whoever is farthest behind, so that all meet on the way; the others are for whoever has
// waited longest, so that who missed little need not wait for those who missed a day.
type reader struct {
	history  History
	audience Audience

	mu        sync.Mutex
	clients   int    // that resume
	waiting   []*ask // those of them that wait for a page, longest first
	isReading bool   // there is a goroutine that reads; it ends when nobody waits
	forget    func() // ends the statement that is running
	round     int
}

// ask is a client's question for the next page. The reader sets place and, once, behind.
type ask struct {
	cursor uint64
	place  Place // nil: not looked for yet
	behind uint64
	answer chan answer
}

type answer struct {
	page *sharedPage
	err  error
}

// gathering is how long a page is put off while some clients are still busy with the last one: so more can share it.
const gathering = 10 * time.Millisecond

// near is how far apart, in seqs, two clients may be to wait for the same page: less than the rows of any page but the
// last, so that each page answers whom it was read for.
const near = 200

// join says that one more client resumes, until it calls left.
func (r *reader) join() (left func()) {
	add := func(n int) {
		r.mu.Lock()
		r.clients += n
		r.mu.Unlock()
	}
	add(1)
	return func() { add(-1) }
}

// next waits for the page behind a.behind. Errors: *TrimmedError, that of ctx, or that nobody can say now.
func (r *reader) next(ctx context.Context, a *ask) (*sharedPage, error) {
	a.answer = make(chan answer, 1)
	r.mu.Lock()
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
	r.drop(a)
	if len(r.waiting) == 0 && r.forget != nil {
		r.forget()
	}
	return nil, ctx.Err()
}

func (r *reader) drop(a *ask) bool {
	i := slices.Index(r.waiting, a)
	if i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
	return i >= 0
}

// reply answers those of asks who still wait.
func (r *reader) reply(asks []*ask, got answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range asks {
		if r.drop(a) {
			a.answer <- got
		}
	}
}

func (r *reader) read() {
	for {
		r.mu.Lock()
		if n := len(r.waiting); 0 < n && n < r.clients {
			r.mu.Unlock()
			time.Sleep(gathering)
			r.mu.Lock()
		}
		if len(r.waiting) == 0 {
			r.isReading, r.forget = false, nil
			r.mu.Unlock()
			return
		}
		asks := slices.Clone(r.waiting) // who asks from now on needs a page that is read after that
		ctx, cancel := context.WithTimeout(context.Background(), pageWait)
		r.forget = cancel
		r.mu.Unlock()
		r.readFor(ctx, asks)
		cancel()
	}
}

// readFor finds the places of those who have none, then reads one page.
func (r *reader) readFor(ctx context.Context, asks []*ask) {
	lost, oldest, err := r.findPlaces(ctx, asks)
	if err != nil {
		r.reply(lost, answer{err: err})
		return
	}
	r.reply(lost, answer{err: &TrimmedError{Oldest: oldest}})
	asks = slices.DeleteFunc(asks, func(a *ask) bool { return a.place == nil })
	if len(asks) == 0 {
		return
	}
	asks = r.together(asks)
	page, err := r.page(ctx, asks)
	if err != nil {
		r.reply(asks, answer{err: err})
		return
	}
	for _, a := range asks {
		switch {
		case page.Oldest == 0 || page.Oldest > a.behind+1:
			r.reply([]*ask{a}, answer{err: &TrimmedError{Oldest: page.Oldest}})
		case page.IsLast || page.Last > a.behind:
			r.reply([]*ask{a}, answer{page: page})
		}
	}
}

// findPlaces returns those whose cursor the log does not hold; with an error, all that were looked for.
func (r *reader) findPlaces(ctx context.Context, asks []*ask) (lost []*ask, oldest uint64, err error) {
	var fresh []*ask
	var cursors []uint64
	for _, a := range asks {
		if a.place == nil {
			fresh, cursors = append(fresh, a), append(cursors, a.cursor)
		}
	}
	if len(fresh) == 0 {
		return nil, 0, nil
	}
	places, oldest, err := r.history.Places(ctx, cursors)
	if err != nil {
		return fresh, 0, err
	}
	for i, a := range fresh {
		if places[i] == nil {
			lost = append(lost, a)
			continue
		}
		a.place, a.behind = places[i], places[i].Behind()
	}
	return lost, oldest, nil
}

// together picks those for whom the next page is.
func (r *reader) together(asks []*ask) []*ask {
	first := asks[0]
	if r.round++; r.round%2 == 0 {
		first = slices.MinFunc(asks, func(a, b *ask) int { return cmp.Compare(a.behind, b.behind) })
	}
	return slices.DeleteFunc(asks, func(a *ask) bool { return max(a.behind, first.behind)-min(a.behind, first.behind) > near })
}

// sharedPage is a page with its audience and its frames, for several clients at once.
type sharedPage struct {
	Page
	holders map[string]map[access.Principal]bool // by routing keys

	mu     sync.Mutex
	frames []*Frames
}

func (r *reader) page(ctx context.Context, asks []*ask) (*sharedPage, error) {
	behind, places := asks[0].behind, make([]Place, len(asks))
	for i, a := range asks {
		behind, places[i] = min(behind, a.behind), a.place
	}
	page, err := r.history.After(ctx, places, behind)
	if err != nil {
		return nil, err
	}
	p := &sharedPage{Page: page, holders: map[string]map[access.Principal]bool{}, frames: make([]*Frames, len(page.Events))}
	keys := routingKeys(page.Events)
	if len(keys) == 0 {
		return p, nil
	}
	audiences, err := askFor(ctx, r.audience, keys)
	if err != nil {
		return nil, err
	}
	for key, principals := range audiences {
		p.holders[key] = make(map[access.Principal]bool, len(principals))
		for _, who := range principals {
			p.holders[key][who] = true
		}
	}
	return p, nil
}

// isFor says whether this principal may see the event.
func (p *sharedPage) isFor(who access.Principal, e *event.Event) bool {
	return p.holders[e.To][who] && !p.holders[e.NotTo][who]
}

// frame is the event at this place, encoded once for all.
func (p *sharedPage) frame(i int, encoding event.Encoding) (*websocket.PreparedMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frames[i] == nil {
		p.frames[i] = NewFrames(&p.Events[i])
	}
	return p.frames[i].in(encoding)
}
