package bridge

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

//go:embed sql/reconcile.sql
var reconcileSQL string

// The methods called by a reconciliation.
var methods = []string{"online_users", "online_participants", "online_devices", "busy_users", "busy_participants", "busy_devices", "status_devices"}

// asking is a pending question to the user manager. The writing goroutine takes the answers, at their place among the messages.
type asking struct {
	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]string // methods by the id of their call; nil: no question is pending
	answers map[string]json.RawMessage
	touched []string // UUIDs in messages since
	done    chan reconciled
}

// reconciled is the result of a comparison.
type reconciled struct {
	err                      error
	people, sessions, status int
	give                     []deviceStatus // statuses that the user manager lacks
}

// deviceStatus is a status as reported by a device.
type deviceStatus struct {
	UUID      string  `json:"uuid"`
	Status    string  `json:"status"`
	Timestamp float64 `json:"timestamp"`
}

// reply is an answer of the user manager.
type reply struct {
	ID     uint64          `json:"id"`
	Status string          `json:"status"`
	Value  json.RawMessage `json:"return_value"`
}

// touch records UUIDs that messages mention while a question is pending.
func (a *asking) touch(uuids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting != nil {
		a.touched = append(a.touched, uuids...)
	}
}

// begin returns the calls of one question; call end when nobody waits for it any more.
func (a *asking) begin(replyTo string) (calls []*opentera.RPCMessage, done <-chan reconciled, end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting, a.answers, a.touched, a.done = make(map[uint64]string), make(map[string]json.RawMessage), nil, make(chan reconciled, 1)
	for _, method := range methods {
		a.lastID++
		a.waiting[a.lastID] = method
		calls = append(calls, call(method, a.lastID, replyTo))
	}
	return calls, a.done, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.waiting = nil
	}
}

func call(method string, id uint64, replyTo string, args ...*opentera.Value) *opentera.RPCMessage {
	return &opentera.RPCMessage{Method: method, Id: id, ReplyTo: replyTo, Timestamp: seconds(time.Now()), Args: args}
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// notJSON matches what Python writes for numbers that JSON lacks, and strings, where these are plain text.
var notJSON = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// withoutInfinity replaces numbers that JSON lacks by null.
func withoutInfinity(payload string) string {
	return notJSON.ReplaceAllStringFunc(payload, func(s string) string {
		if s[0] == '"' {
			return s
		}
		return "null"
	})
}

// take handles one answer; isLast: the question is complete or has failed.
func (a *asking) take(payload string) (answers map[string]json.RawMessage, touched []string, done chan<- reconciled, isLast bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		return nil, nil, nil, false, nil // too late, or the answer to a status update
	}
	var r reply
	if json.Unmarshal([]byte(withoutInfinity(payload)), &r) != nil {
		a.waiting = nil // no telling which call it answers
		return nil, nil, a.done, true, errors.New("an answer of the user manager is not JSON")
	}
	method, isAsked := a.waiting[r.ID]
	if !isAsked {
		return nil, nil, nil, false, nil
	}
	delete(a.waiting, r.ID)
	a.answers[method] = r.Value
	if r.Status != "OK" {
		err = fmt.Errorf("the user manager answers %s with an error", method)
	} else if len(a.waiting) > 0 {
		return nil, nil, nil, false, nil
	}
	a.waiting = nil
	return a.answers, a.touched, a.done, true, err
}

// answered takes an answer; after the last it compares.
func (r *reign) answered(ctx context.Context, payload string) {
	answers, touched, done, isLast, err := r.asking.take(payload)
	if !isLast {
		return
	}
	found := reconciled{err: err}
	if err == nil {
		found = r.compare(ctx, answers, touched)
	}
	done <- found
}

// compare compares the answers with the database and corrects the database.
func (r *reign) compare(ctx context.Context, answers map[string]json.RawMessage, touched []string) (found reconciled) {
	ctx, cancel := context.WithTimeout(ctx, r.Write)
	defer cancel()
	byKind := func(what string) []byte {
		text, _ := json.Marshal(map[string]json.RawMessage{"user": answers[what+"_users"], "participant": answers[what+"_participants"], "device": answers[what+"_devices"]})
		return text
	}
	var online map[string][]string
	var busy map[string]map[string]string
	if json.Unmarshal(byKind("online"), &online) != nil || json.Unmarshal(byKind("busy"), &busy) != nil {
		found.err = errors.New("an answer of the user manager is not of the form that is known")
		return found
	}
	noUUID := func(s string) bool { return !uuidForm.MatchString(s) } // nobody's, and maybe not valid text for PostgreSQL
	for kind := range online {
		online[kind] = slices.DeleteFunc(online[kind], noUUID)
	}
	for kind := range busy {
		maps.DeleteFunc(busy[kind], func(who, session string) bool { return noUUID(who) || noUUID(session) })
	}
	statuses, odd, badForm := statusesOf(answers["status_devices"])
	if odd > 0 {
		r.Metrics.refused.WithLabelValues(malformed).Add(float64(odd))
		r.Log.Warn("the user manager has statuses of devices that are not {\"status\": \"...\", \"timestamp\": n}: they are passed over", "op", "reconcile", "statuses", odd)
	}
	if touched == nil {
		touched = []string{}
	}
	var give []byte
	err := r.Pool.QueryRow(ctx, reconcileSQL, r.term, online, busy, statuses, touched).
		Scan(&found.people, &found.sessions, &found.status, &give)
	if err == nil {
		err = json.Unmarshal(give, &found.give)
	}
	if lost(err) {
		found.err = errLost
	} else if err != nil {
		found.err = fmt.Errorf("compare with the user manager: %w", err)
	} else if badForm != nil { // who is online and busy is corrected all the same
		return reconciled{err: badForm}
	}
	return found
}

// statusesOf parses the user manager's device statuses: {"<uuid>": {"status": {"status": "<text>", "timestamp": n} or null}}.
// Malformed ones are left out and counted in odd. It fails if the whole is not an object.
func statusesOf(answer json.RawMessage) (statuses map[string]any, odd int, err error) {
	statuses = make(map[string]any)
	var devices map[string]json.RawMessage
	if json.Unmarshal(answer, &devices) != nil {
		return statuses, 0, errors.New("status_devices of the user manager is not of the form that is known")
	}
	for uuid, text := range devices {
		var device struct {
			Status *struct {
				Status    *string  `json:"status"`
				Timestamp *float64 `json:"timestamp"`
			} `json:"status"`
		}
		isOdd := json.Unmarshal(text, &device) != nil || !uuidForm.MatchString(uuid)
		switch s := device.Status; {
		case isOdd, s != nil && (s.Status == nil || s.Timestamp == nil || strings.Contains(*s.Status, "\x00")):
			odd++
		case s != nil:
			statuses[uuid] = device
		}
	}
	return statuses, odd, nil
}

// queue adds a PUBLISH to a pipeline.
func queue(ctx context.Context, pipe redis.Pipeliner, topic string, message proto.Message) error {
	bytes, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	pipe.Publish(ctx, topic, bytes)
	return nil
}
