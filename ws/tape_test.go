package ws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// tape is a database with a log; everything on it has been announced. Principals hold their own tag, those in first, and what
// Rights events change.
type tape struct {
	first  map[access.Principal][]string
	before func(question string) error // called before each answer, after the state was read; nil: nothing

	mu                   sync.Mutex
	events               []event.Event // in order of seq
	trimmed              uint64        // the highest seq that was trimmed
	lookUps, pages, asks int
	perPage              int    // 0: 256
	told                 string // the keys that objects were last told by, if they moved silently
}

// beforePages is a tape.before that runs do before each page.
func beforePages(do func()) func(question string) error {
	return func(question string) error {
		if question == "page" {
			do()
		}
		return nil
	}
}

func (t *tape) answer(question string) error {
	if t.before == nil {
		return nil
	}
	return t.before(question)
}

func (t *tape) last() uint64 {
	if len(t.events) == 0 {
		return 0
	}
	return t.events[len(t.events)-1].Seq
}

func (t *tape) Standing(_ context.Context, p access.Principal) (access.Standing, error) {
	t.mu.Lock()
	t.lookUps++
	s := access.Standing{Epoch: epoch, Seq: t.last(), Tags: append([]string{p.Tag()}, t.first[p]...)}
	for i := range t.events {
		if e := &t.events[i]; p.IsOf(e) {
			s.Tags = slices.DeleteFunc(s.Tags, func(tag string) bool { return slices.Contains(e.Lost, tag) })
			s.Tags = append(s.Tags, e.Gained...)
		}
	}
	t.mu.Unlock()
	return s, t.answer("standing")
}

func (t *tape) Reaches(_ context.Context, since uint64) (bool, uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.trimmed + 1
	return since >= t.trimmed && since <= t.last(), oldest, nil
}

func (t *tape) After(ctx context.Context, behind, until uint64) (event.Page, error) {
	if err := t.answer("page"); err != nil {
		return event.Page{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages++
	page := event.Page{Last: behind, IsLast: true, Trimmed: behind < t.trimmed}
	most := t.perPage
	def(&most, 256)
	for _, e := range t.events {
		if e.Seq <= max(behind, t.trimmed) || e.Seq > until {
			continue
		}
		if len(page.Events) == most {
			page.IsLast = false
			break
		}
		page.Events = append(page.Events, e)
		page.Last = e.Seq
	}
	return page, ctx.Err()
}

func (t *tape) RightsSince(_ context.Context, p access.Principal, since, until uint64) ([]event.Event, error) {
	if err := t.answer("rights"); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asks++
	var found []event.Event
	for i := range t.events {
		e := &t.events[i]
		if e.Seq <= since && e.Kind == event.Settled {
			found = nil
		} else if e.Seq <= until && (e.Kind == event.Alias || e.Kind == event.Rights && p.IsOf(e)) {
			found = append(found, *e)
		}
	}
	return found, nil
}

// ToldKeys returns the keys of the newest event of the object.
func (t *tape) ToldKeys(_ context.Context, objectType string, id int64) (keys string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told != "" {
		return t.told, t.answer("told")
	}
	for _, e := range t.events {
		if e.Kind == event.Object && e.ObjectType == objectType && e.ObjectID == id {
			keys = e.Present
		}
	}
	return keys, nil
}

// counts returns how often pages and rights were read.
func (t *tape) counts() (pages, asks int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pages, t.asks
}

// announce appends events and assigns their seq.
func (t *tape) announce(events ...event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		e.Seq = t.last() + 1
		t.events = append(t.events, e)
	}
}

func (t *tape) trim(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimmed = seq
}

// taped is a gateway reading a tape; play is its dispatcher.
type taped struct {
	*gateway
	tape *tape
}

func (t *tape) gateway(tb testing.TB, change func(*Handler)) *taped {
	tb.Helper()
	return &taped{newGateway(tb, func(h *Handler) {
		h.Hub, h.Replays = newHub(t, h.Metrics), t
		if change != nil {
			change(h)
		}
	}, nil), t}
}

// play dispatches up to seq.
func (g *taped) play(seq uint64) {
	g.tape.mu.Lock()
	events := slices.Clone(g.tape.events)
	g.tape.mu.Unlock()
	for i := range events {
		if e := &events[i]; g.seq < e.Seq && e.Seq <= seq {
			g.dispatch(e)
		}
	}
}

// tell announces events and dispatches them.
func (g *taped) tell(events ...event.Event) {
	g.tape.announce(events...)
	g.play(1 << 62)
}

// changes returns n messages to these principals, with their seqs as values.
func changes(n int, to ...access.Principal) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = *change(uint64(i+1), fmt.Sprint(i+1), to...)
	}
	return all
}

// message returns a message with a recognisable value for these routing keys.
func message(value, keys string) event.Event {
	e := *change(0, value)
	e.Present = keys
	return e
}

// object returns an event about an object: op C, U, G or D, and the present and former routing keys.
func object(op, name, present, former string) event.Event {
	r := event.Record{Seq: 1, Type: "opentera.protobuf.DatabaseEvent", Op: op, ObjectType: "project", ObjectID: 1,
		Present: present, Former: former, Gone: fmt.Sprintf(`{"gone": %q}`, name)}
	if op != "D" {
		r.Body = fmt.Sprintf(`{"name": %q}`, name)
	}
	return decoded(r)
}

func decoded(r event.Record) event.Event {
	e, err := event.Decode(r)
	if err != nil {
		panic(err)
	}
	e.At = time.Now()
	return e
}

func rights(p access.Principal, gained, lost string) event.Event {
	return event.Event{Kind: event.Rights, ObjectType: p.Kind.String(), ObjectID: int64(p.ID),
		Gained: strings.Fields(gained), Lost: strings.Fields(lost)}
}

func alias(tag, keys, was string) event.Event {
	return event.Event{Kind: event.Alias, Tag: tag, Keys: keys, Was: was}
}

var settled = event.Event{Kind: event.Settled}

// heard describes the event in a few words.
func (r *received) heard() string {
	m, err := r.event.GetEvents()[0].UnmarshalNew()
	if err != nil {
		return err.Error()
	}
	switch m := m.(type) {
	case *terasocket.Cursor:
		if m.GetSeq() != r.event.GetHeader().GetSeq() {
			return "two seqs in a cursor"
		}
		return fmt.Sprintf("cursor %d", m.GetSeq())
	case *terasocket.ReplayIncomplete:
		return fmt.Sprintf("incomplete %d", m.GetOldestSeq())
	case *opentera.UserEvent:
		return fmt.Sprintf("presence of %s at %d", m.GetUserUuid(), r.event.GetHeader().GetSeq())
	case *opentera.DatabaseEvent:
		var o struct{ Name, Gone string }
		if json.Unmarshal([]byte(m.GetObjectValue()), &o) != nil || o.Name+o.Gone == "" {
			return m.GetObjectValue() // from change
		}
		text := strings.ToLower(strings.TrimPrefix(m.GetType().String(), "DB_")) + " " + o.Name + o.Gone
		if strings.Contains(m.GetObjectValue(), `"service_projects":[]`) {
			text += " restricted"
		}
		return text
	}
	return fmt.Sprintf("%T", m)
}

// hears reads these events and no others between them.
func (c *client) hears(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next().heard(); got != w {
			c.t.Fatalf("heard %q, want %q", got, w)
		}
	}
}

func (c *client) wantCursor(seq uint64) {
	c.t.Helper()
	c.hears(fmt.Sprintf("cursor %d", seq))
}

// with gives a principal tags from the beginning of the tape.
func with(p access.Principal, tags ...string) map[access.Principal][]string {
	return map[access.Principal][]string{p: tags}
}
