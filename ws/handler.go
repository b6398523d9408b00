package ws

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

// redeemWait bounds the redemption of a token.
const redeemWait = 5 * time.Second

// retryAfter is the Retry-After header of a 503, in seconds.
const retryAfter = 5

// Handler upgrades requests to /wss/user, /wss/participant and /wss/device.
type Handler struct {
	Tokens  TokenRedeemer
	Hub     *Hub
	Log     *slog.Logger
	Metrics *Metrics

	// Replays serves clients that resume (since), Roster those that ask for a snapshot; if nil, such requests get 400.
	Replays ReplayLog
	Roster  PresenceReader

	Replacer Replacer // nil: a socket that replaces others closes those of this gateway only
	Auditor  Auditor  // nil: no audit

	DefaultEncoding event.Encoding               // if the client asks for none: Protobuf (the zero value) or JSON
	AllowedOrigins  []string                     // "https://host[:port]" of browsers; empty = any. No Origin: not a browser
	Failures        FailureLimit                 // zero = no limit
	Limits          Limits                       // of each connection
	Presence        Presence                     // nil = not reported
	Ready           func() bool                  // false: clients get 503; nil = always true
	ClientAddr      func(r *http.Request) string // without port, "" = not known; nil = the peer's
}

// Routes adds the websocket endpoints to r. No middleware before them may buffer, compress or time out.
func (h Handler) Routes(r chi.Router) {
	d := &desk{Limits: h.Limits.withDefaults(), hub: h.Hub, presence: h.Presence, log: h.Log, metrics: h.Metrics}
	if h.ClientAddr == nil {
		h.ClientAddr = peerAddr
	}
	a := &admission{Handler: h, desk: d, resumer: newResumer(h.Hub, h.Replays, h.Roster), failures: newFailures(h.Failures), upgrader: newUpgrader(new(sync.Pool))}
	for _, kind := range access.Kinds {
		r.Get("/wss/"+kind.String(), func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, kind) })
	}
}

type admission struct {
	Handler
	desk     *desk
	resumer  *resumer
	failures *failures
	upgrader *websocket.Upgrader
}

// serve answers one handshake. The token is redeemed last, so that it stays good if another check fails.
func (a *admission) serve(w http.ResponseWriter, r *http.Request, kind access.Kind) {
	p, no := a.check(w, r)
	if no != nil {
		a.refuse(w, no)
		return
	}
	generation, isBegun := a.Hub.begun()
	if !isBegun {
		a.refuse(w, notReady("not_ready"))
		return
	}
	identity, no := a.redeem(r, kind, p.token)
	if no != nil {
		a.refuse(w, no)
		return
	}
	encoding, subprotocol := negotiate(p, elements(r.Header, "Sec-Websocket-Protocol"), a.DefaultEncoding)
	c := a.desk.admit(identity, encoding)
	if a.Auditor != nil {
		c.trail.note = a.Auditor.Trail(identity, c.id, c.opened, a.ClientAddr(r))
	}
	if p.since != nil {
		c.Since, c.Asked = *p.since, true
	}
	c.Snapshot = p.snapshot
	c.resuming = c.Since > 0 || c.Snapshot
	if err := a.Hub.Enter(r.Context(), c, generation); err != nil {
		a.refuse(w, a.notEntered(w, r, c, err))
		return
	}
	if p.replace && !a.replace(r, c) {
		a.refuse(w, notReady("replace"))
		return
	}
	a.upgrade(w, r, c, subprotocol)
}

// replace closes the principal's other sockets. It returns false if those on other gateways cannot be closed.
func (a *admission) replace(r *http.Request, c *Conn) bool {
	if a.Replacer != nil {
		ctx, cancel := context.WithTimeout(r.Context(), redeemWait)
		defer cancel()
		if err := a.Replacer.Replace(ctx, c.Identity); err != nil {
			a.Hub.remove(c)
			if r.Context().Err() == nil {
				a.Log.Error("other sockets not replaced", "conn", c.id, "principal", c.Identity.Principal.String(), "op", "replace", "err", err)
			}
			return false
		}
	}
	a.Hub.closeOlder(c)
	return true
}

// notEntered maps an error of Enter to the response.
func (a *admission) notEntered(w http.ResponseWriter, r *http.Request, c *Conn, err error) *refusal {
	switch {
	case errors.Is(err, ErrDraining):
		return notReady("draining")
	case errors.Is(err, ErrKicked), errors.Is(err, access.ErrRefused):
		return badToken()
	case errors.Is(err, ErrTooManySockets):
		return tooManySockets(w)
	case errors.Is(err, ErrNotReady):
		return notReady("not_ready")
	case r.Context().Err() != nil:
		return notReady("gone") // the client has gone; nobody reads this
	}
	a.Log.Error("not known what a client may see", "conn", c.id, "principal", c.Identity.Principal.String(), "op", "standing", "err", err)
	return notReady("standing")
}

// check runs all checks that need no database.
func (a *admission) check(w http.ResponseWriter, r *http.Request) (params, *refusal) {
	if no := checkUpgrade(r); no != nil {
		return params{}, no
	}
	if a.Hub.Draining() {
		return params{}, notReady("draining")
	}
	if a.Ready != nil && !a.Ready() {
		return params{}, notReady("not_ready")
	}
	if !a.originAllowed(r) {
		return params{}, &refusal{http.StatusForbidden, "origin", "origin not allowed"}
	}
	addr := a.ClientAddr(r)
	if wait, yes := a.failures.tooMany(addr, time.Now()); yes {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		return params{}, &refusal{http.StatusTooManyRequests, "too_many", "too many failed attempts"}
	}
	p, no := parseParams(r.URL.RawQuery)
	if no == nil && p.since != nil && *p.since > 0 && a.Replays == nil {
		no = &refusal{http.StatusBadRequest, "since", "this gateway cannot resume: pass since=0"}
	}
	if no == nil && p.snapshot && a.Roster == nil {
		no = &refusal{http.StatusBadRequest, "snapshot", "this gateway has no presence: leave snapshot out"}
	}
	if no != nil && no.reason == "token" {
		a.failures.add(addr, time.Now())
	}
	return p, no
}

func (a *admission) redeem(r *http.Request, kind access.Kind, token string) (access.Identity, *refusal) {
	ctx, cancel := context.WithTimeout(r.Context(), redeemWait)
	defer cancel()
	identity, err := a.Tokens.Redeem(ctx, kind, token)
	switch {
	case err == nil:
		return identity, nil
	case errors.Is(err, access.ErrRefused):
		a.failures.add(a.ClientAddr(r), time.Now())
		return access.Identity{}, badToken()
	case r.Context().Err() != nil:
		return access.Identity{}, notReady("gone") // the client has gone; nobody reads this
	}
	a.Log.Error("connect token not redeemed", "op", "redeem", "err", err)
	return access.Identity{}, notReady("redeem")
}

// upgrade writes the 101 and hands the socket to its reading goroutine. The request's goroutine, with its large stack and
// buffers, ends.
func (a *admission) upgrade(w http.ResponseWriter, r *http.Request, c *Conn, subprotocol string) {
	var header http.Header
	if subprotocol != "" {
		header = http.Header{"Sec-Websocket-Protocol": {subprotocol}}
	}
	hijacked := &hijacker{ResponseWriter: w, conn: c}
	socket, err := a.upgrader.Upgrade(hijacked, r, header)
	if err != nil {
		a.Hub.remove(c)
		a.Metrics.refused.WithLabelValues("upgrade").Inc()
		a.Log.Info("handshake failed", "conn", c.id, "principal", c.Identity.Principal.String(), "op", "upgrade", "err", err)
		if hijacked.out == nil { // net/http still has the connection
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		}
		return
	}
	a.Metrics.accepted[c.Identity.Kind].Inc()
	a.Log.Info("socket open", "conn", c.id, "principal", c.Identity.Principal.String(),
		"encoding", encodingName(c.Encoding), "resume", c.Asked)
	c.open(socket, hijacked.out)
	if c.resuming {
		var ctx context.Context
		ctx, c.gone = context.WithCancel(context.Background())
		c.replayed = make(chan struct{})
		go func() { defer close(c.replayed); a.resumer.run(ctx, c) }() // c.read cancels it and waits
	}
	go c.read(clientName(r.Header), a.ClientAddr(r))
}

func (a *admission) refuse(w http.ResponseWriter, no *refusal) {
	a.Metrics.refused.WithLabelValues(no.reason).Inc()
	switch no.status {
	case http.StatusUpgradeRequired:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	if no.reason == "version" {
		w.Header().Set("Sec-WebSocket-Version", "13")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, no.text, no.status)
}

func notReady(reason string) *refusal {
	return &refusal{http.StatusServiceUnavailable, reason, "not ready, try again"}
}

func (a *admission) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return len(a.AllowedOrigins) == 0 || origin == "" || slices.ContainsFunc(a.AllowedOrigins, func(allowed string) bool {
		return strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin)
	})
}

func peerAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
