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

// The methods that a reconciliation calls.
var methods = []string{"online_users", "online_participants", "online_devices", "busy_users", "busy_participants", "busy_devices", "status_devices"}

// asking is a question to the user manager whose answers are under way. The goroutine that writes takes them, at their place
// among the messages.
type asking struct {
	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]string // methods by the id of their call; nil: nothing is asked
	answers map[string]json.RawMessage
	touched []string // UUIDs of which something was heard since
	done    chan reconciled
}

// reconciled is what a comparison found.
type reconciled struct {
	err                      error
	people, sessions, status int
	give                     []deviceStatus // to the user manager
}

// deviceStatus is what a device has told of itself.
type deviceStatus struct {
	UUID      string  `json:"uuid"`
	Status    string  `json:"status"`
	Timestamp float64 `json:"timestamp"`
}

// reply is what the user manager answers.
type reply struct {
	ID     uint64          `json:"id"`
	Status string          `json:"status"`
	Value  json.RawMessage `json:"return_value"`
}

// touch notes whom something was heard of.
func (a *asking) touch(uuids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting != nil {
		a.touched = append(a.touched, uuids...)
	}
}

// begin makes the calls of one question; end is to be called when nobody waits for it any more.
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

// notJSON finds what Python writes for numbers that JSON does not have, and strings, in which they are text.
var notJSON = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// withoutInfinity is an answer in which numbers that JSON does not have are null.
func withoutInfinity(payload string) string {
	return notJSON.ReplaceAllStringFunc(payload, func(s string) string {
		if s[0] == '"' {
			return s
		}
		return "null"
	})
}

// take takes one answer; isLast: now all are there, or the question has failed.
func (a *asking) take(payload string) (answers map[string]json.RawMessage, touched []string, done chan<- reconciled, isLast bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		return nil, nil, nil, false, nil // too late, or of an update of a status
	}
	var r reply
	if json.Unmarshal([]byte(withoutInfinity(payload)), &r) != nil {
		a.waiting = nil // nobody knows of which call
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

// answered takes an answer, and compares when it was the last.
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

// compare compares the answers with the database, and sets right there what is to be set right.
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
	noUUID := func(s string) bool { return !uuidForm.MatchString(s) } // nobody's, and maybe no text to PostgreSQL
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
	} else if badForm != nil { // who is online and busy is set right all the same
		return reconciled{err: badForm}
	}
	return found
}

// statusesOf reads what the user manager has of devices: {"<uuid>": {"status": {"status": "<text>", "timestamp": n} or null}}. One
// that is not of this form is left out; odd is how many are not. The error is that the whole is not.
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

// queue adds the publication of a message to a pipeline.
func queue(ctx context.Context, pipe redis.Pipeliner, topic string, message proto.Message) error {
	bytes, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	pipe.Publish(ctx, topic, bytes)
	return nil
}
