package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"terasocket/access"
	"terasocket/doctor"
	"terasocket/proto/opentera"
)

// Limits of one answer.
const (
	mostPeople = 500
	mostEvents = 100
)

// status answers GET /console/api/status[?after=SECONDS]: whether clients can connect, the latest gauges, the points after a
// time, and the gateways, null if the database does not answer, or with the reason if the role may not read them.
func (c *Console) status(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseFloat(r.URL.Query().Get("after"), 64)
	points, gauges := c.samples.after(after)
	ready, degraded, lacks := "", "", ""
	if err := c.Ready(r); err != nil {
		ready = err.Error()
	}
	if c.Degraded != nil {
		degraded = c.Degraded()
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var gateways json.RawMessage
	if err := c.Pool.QueryRow(ctx, "SELECT terasocket.console_gateways()").Scan(&gateways); err != nil {
		if gateways = nil; isRefused(err) {
			lacks = lacksRights
		}
	}
	answer(w, http.StatusOK, map[string]any{
		"now": float64(time.Now().UnixMilli()) / 1000, "version": c.Version, "gateway": c.Gateway,
		"not_ready": ready, "degraded": degraded, "gauges": gauges, "points": points, "gateways": gateways, "lacks": lacks,
	})
}

const (
	checkupFresh = 30 * time.Second // no new examination is made within this time
	checkupLimit = 100 * time.Second
)

// checkup is the last examination. The holder of turn may examine, and read or write the rest.
type checkup struct {
	turn     chan struct{}
	at       time.Time
	findings []doctor.Finding
}

// doctor answers GET /console/api/doctor: the findings of the last examination, and its time; POST makes a new one, as GET does
// if there is none, but not twice within checkupFresh. Concurrent requests share one.
func (c *Console) doctor(w http.ResponseWriter, r *http.Request) {
	select {
	case c.checkup.turn <- struct{}{}:
		defer func() { <-c.checkup.turn }()
	case <-r.Context().Done():
		return
	}
	if c.checkup.at.IsZero() || r.Method == http.MethodPost && time.Since(c.checkup.at) > checkupFresh {
		ctx, cancel := context.WithTimeout(r.Context(), checkupLimit)
		defer cancel()
		findings, err := c.Examine(ctx)
		if err != nil {
			c.unavailable(w, "doctor", err)
			return
		}
		c.checkup.at, c.checkup.findings = time.Now(), findings
	}
	answer(w, http.StatusOK, map[string]any{"at": c.checkup.at, "checks": c.checkup.findings})
}

// people answers GET /console/api/people[?part=TEXT]: who is online or busy, among those whose name contains the text.
func (c *Console) people(w http.ResponseWriter, r *http.Request) {
	if part, ok := text(w, r, "part"); ok {
		c.say(w, r, "people", "SELECT terasocket.console_people($1, $2)", part, mostPeople)
	}
}

// find answers GET /console/api/find?part=TEXT: everybody whose name contains the text, of two characters or more.
func (c *Console) find(w http.ResponseWriter, r *http.Request) {
	part, ok := text(w, r, "part")
	if !ok {
		return
	}
	if len([]rune(part)) < 2 {
		refuse(w, http.StatusBadRequest, "too_short", "part must have two characters or more")
		return
	}
	c.say(w, r, "find", "SELECT terasocket.console_find($1)", part)
}

// log answers GET /console/api/log[?before=SEQ][&behind=SEQ][&part=TEXT][&internal=true]: rows of the log, newest first.
func (c *Console) log(w http.ResponseWriter, r *http.Request) {
	part, ok := text(w, r, "part")
	if !ok {
		return
	}
	var seqs [2]*int64
	for i, name := range []string{"before", "behind"} {
		if given := r.URL.Query().Get(name); given != "" {
			seq, err := strconv.ParseInt(given, 10, 64)
			if err != nil {
				refuse(w, http.StatusBadRequest, "malformed", name+" must be a seq")
				return
			}
			seqs[i] = &seq
		}
	}
	c.say(w, r, "log", "SELECT terasocket.console_log($1, $2, nullif($3, ''), $4, $5)", seqs[0], seqs[1], part, r.URL.Query().Get("internal") == "true", mostEvents)
}

// say answers with the JSON that the query returns.
func (c *Console) say(w http.ResponseWriter, r *http.Request, op, sql string, args ...any) {
	ctx, cancel := context.WithTimeout(r.Context(), apiLimit)
	defer cancel()
	var found json.RawMessage
	if err := c.Pool.QueryRow(ctx, sql, args...).Scan(&found); err != nil {
		c.unavailable(w, op, err)
		return
	}
	answer(w, http.StatusOK, found)
}

// text returns a parameter. It answers 400 to one that PostgreSQL would reject, or that is absurdly long.
func text(w http.ResponseWriter, r *http.Request, name string) (string, bool) {
	value := strings.TrimSpace(r.URL.Query().Get(name))
	if len(value) > 200 || strings.ToValidUTF8(value, "") != value || strings.Contains(value, "\x00") {
		refuse(w, http.StatusBadRequest, "malformed", name+" must be a text of 200 bytes at most")
		return "", false
	}
	return value, true
}

// explain answers GET /console/api/explain?seq=SEQ&kind=KIND&uuid=UUID: an access.Explanation, without notes.
func (c *Console) explain(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	seq, err := strconv.ParseInt(query.Get("seq"), 10, 64)
	kind, kindErr := access.ParseKind(query.Get("kind"))
	if err := errors.Join(err, kindErr); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "seq must be a number, kind user, participant or device")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), apiLimit)
	defer cancel()
	explanation, err := (&access.Explainer{Pool: c.Pool}).Explain(ctx, seq, kind, query.Get("uuid"))
	var missing *access.MissingEventError
	switch {
	case errors.As(err, &missing):
		refuse(w, http.StatusNotFound, "missing_event", missing.Error())
	case errors.Is(err, access.ErrUnknown):
		refuse(w, http.StatusNotFound, "unknown_person", "there is nobody with this UUID")
	case err != nil:
		c.unavailable(w, "explain", err)
	default:
		answer(w, http.StatusOK, explanation)
	}
}

// body answers GET /console/api/log/{seq}/body with Authorization: OpenTera <user_token> of a superadmin: what is in an event.
// It is shown only once the access is recorded.
func (c *Console) body(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "the seq must be a number")
		return
	}
	token, isToken := strings.CutPrefix(r.Header.Get("Authorization"), "OpenTera ")
	if !isToken {
		refuse(w, http.StatusUnauthorized, "sign_in", "sign in as a superadmin of OpenTera")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), apiLimit)
	defer cancel()
	account, err := c.Users.ByToken(ctx, token)
	var refused *access.Refusal
	if errors.As(err, &refused) {
		refuse(w, http.StatusUnauthorized, "sign_in", "sign in as a superadmin of OpenTera: this token is not good, or not any more")
		return
	} else if err != nil {
		c.unavailable(w, "body", err)
		return
	}
	var found json.RawMessage
	if err := c.Pool.QueryRow(ctx, "SELECT terasocket.console_body($1, $2)", seq, account.ID).Scan(&found); err != nil {
		c.unavailable(w, "body", err)
		return
	}
	who := account.Principal.String()
	if found == nil {
		c.Log.Warn("console", "op", "console body", "principal", who, "addr", c.ClientAddr(r), "event", seq, "status", "refused")
		refuse(w, http.StatusForbidden, "superadmin", "this is for superadmins of OpenTera, and for events that the log still holds")
		return
	}
	if err := c.Audit.Record(ctx, access.LoginRecord{Type: opentera.LoginEvent_LOGIN_TYPE_TOKEN, Who: account.Identity, ClientIP: c.ClientAddr(r),
		Endpoint: r.URL.Path, Message: fmt.Sprintf("console body of event %d", seq)}); err != nil {
		c.unavailable(w, "body", err)
		return
	}
	if c.Deliveries != nil {
		if err := c.Deliveries.Shown(ctx, account.Identity, uint64(seq), c.ClientAddr(r)); err != nil {
			c.unavailable(w, "body", err)
			return
		}
	}
	c.Log.Info("console", "op", "console body", "principal", who, "addr", c.ClientAddr(r), "event", seq, "status", "shown")
	answer(w, http.StatusOK, found)
}
