package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"terasocket/access"
	"terasocket/proto/opentera"
)

const (
	minPassword     = 12
	sessionLifetime = 8 * time.Hour
	mostSessions    = 100
	wrongAtOnce     = 5 // wrong passwords of an address (an IPv6 /64), then one each wrongEvery
	wrongEvery      = 10 * time.Second
	mostAddresses   = 1000      // remembered; while all of them count, no other may try
	basicEvery      = time.Hour // how often HTTP Basic from an address is recorded
)

// tokenHeader carries the session token. It is not a cookie: see the package comment.
const tokenHeader = "X-Console-Token"

// door holds the sessions and the attempts to sign in.
type door struct {
	mu       sync.Mutex
	sessions []session            // oldest first
	tries    map[string]tries     // by address
	basic    map[string]time.Time // when HTTP Basic from an address was last recorded
}

// tries counts compared passwords; one is forgotten each wrongEvery.
type tries struct {
	spent float64
	at    time.Time
}

// left returns what remains of them at now.
func (t tries) left(now time.Time) float64 {
	return max(0, t.spent-float64(now.Sub(t.at))/float64(wrongEvery))
}

type session struct {
	token, password [sha256.Size]byte // the password it was bought with; a changed one ends the session
	until           time.Time
}

// ReadPassword reads the file of --console-password-file. Errors: that of the file, or that the password is too short.
func ReadPassword(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--console-password-file: %w", err)
	}
	password := strings.TrimSpace(string(content))
	if len(password) < minPassword {
		return "", fmt.Errorf("--console-password-file: the password in it must have %d characters or more", minPassword)
	}
	return password, nil
}

// isOff reports that the console is closed: the address is reachable by others, and there is no password.
func (c *Console) isOff() bool { return !c.Loopback && c.PasswordFile == "" }

// isStrange says why a request cannot come from an operator's browser or program, "" if it can. Without a password only the
// address protects: then the host must be a name of this machine (or a page whose name was pointed here could read it: DNS
// rebinding), and no proxy that says so, or speaks HTTP/1.0, may have passed the request on.
func (c *Console) isStrange(r *http.Request) string {
	if c.isOff() {
		return "the console needs --console-password-file where --admin-listen is not a loopback address"
	}
	if c.PasswordFile == "" {
		if !r.ProtoAtLeast(1, 1) { // nginx's plain proxy_pass, which sends our Host and no other sign of itself
			return "the console needs --console-password-file over HTTP/1.0, which proxies speak"
		}
		if !isLoopbackName(r.Host) {
			return "without --console-password-file the console answers to localhost, 127.0.0.1 and [::1] only"
		}
		for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
			if r.Header.Get(name) != "" {
				return "behind a proxy the console needs --console-password-file"
			}
		}
	}
	isPage := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Method == http.MethodGet // a link to the console
	if site := r.Header.Get("Sec-Fetch-Site"); !slices.Contains([]string{"", "same-origin", "none"}, site) && !isPage {
		return "another page asks: only the console's own may"
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if page, err := url.Parse(origin); err != nil || !strings.EqualFold(page.Host, r.Host) {
			return "another page asks: only the console's own may; a proxy must pass Host on"
		}
	}
	return ""
}

// isLoopbackName reports whether host[:port] can only be this machine.
func isLoopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// forOperators requires a session token, or HTTP Basic (any name).
func (c *Console) forOperators(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, isBasic := r.BasicAuth()
		if isBasic && c.PasswordFile != "" && r.Header.Get(tokenHeader) == "" {
			if !c.mayEnter(w, r, password) {
				return
			}
			if c.door.isNew(c.ClientAddr(r), time.Now()) {
				c.entered(r)
			}
		} else if !c.isKnown(w, r) {
			return
		}
		next(w, r)
	})
}

// isKnown reports whether there is a session, or none is needed. If not, the answer is written.
func (c *Console) isKnown(w http.ResponseWriter, r *http.Request) bool {
	if c.PasswordFile == "" {
		return true
	}
	password, ok := c.password(w)
	if !ok {
		return false
	}
	if !c.door.knows(r.Header.Get(tokenHeader), password) {
		refuse(w, http.StatusUnauthorized, "password", "the console's password is needed")
		return false
	}
	return true
}

// password returns the current password. If it cannot be read, the answer is written.
func (c *Console) password(w http.ResponseWriter) (string, bool) {
	password, err := ReadPassword(c.PasswordFile)
	if err != nil {
		c.Log.Error("nobody can enter the console", "op", "console", "err", err)
		refuse(w, http.StatusServiceUnavailable, "password_file", "the password's file cannot be read: see the gateway's log")
	}
	return password, err == nil
}

// mayEnter compares a password with the current one, in constant time, and records the outcome. If it is wrong, the answer is
// written.
func (c *Console) mayEnter(w http.ResponseWriter, r *http.Request, given string) bool {
	right, ok := c.password(w)
	if !ok {
		return false
	}
	addr := c.ClientAddr(r)
	if wait := c.door.try(addr, time.Now()); wait > 0 {
		c.Log.Info("console refused: too many wrong passwords", "op", "console sign in", "addr", addr)
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		refuse(w, http.StatusTooManyRequests, "too_many", "too many wrong passwords from this address: wait a little")
		return false
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(right))
	if subtle.ConstantTimeCompare(a[:], b[:]) == 1 {
		c.door.forgive(addr)
		return true
	}
	isRecorded := c.Strangers.Allow()
	c.Log.Warn("console", "op", "console sign in", "addr", addr, "status", "wrong password", "recorded", isRecorded)
	if isRecorded {
		c.record(r, opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD)
	}
	refuse(w, http.StatusUnauthorized, "wrong_password", "wrong password")
	return false
}

// session answers GET /console/api/session: whether a password is needed, and missing.
func (c *Console) session(w http.ResponseWriter, r *http.Request) {
	isOpen := c.PasswordFile == ""
	if !isOpen {
		password, ok := c.password(w)
		if !ok {
			return
		}
		isOpen = c.door.knows(r.Header.Get(tokenHeader), password)
	}
	answer(w, http.StatusOK, map[string]any{"open": isOpen, "password": c.PasswordFile != "", "version": c.Version, "gateway": c.Gateway})
}

// newSession answers POST /console/api/session {"password": ...}: 200 {"token": ...}; 401, 429; 503 if the file cannot be read.
func (c *Console) newSession(w http.ResponseWriter, r *http.Request) {
	var given struct{ Password string }
	if !read(w, r, &given) {
		return
	}
	if c.PasswordFile == "" {
		refuse(w, http.StatusBadRequest, "no_password", "there is no password")
		return
	}
	if !c.mayEnter(w, r, given.Password) {
		return
	}
	c.entered(r)
	answer(w, http.StatusOK, map[string]string{"token": c.door.open(given.Password)})
}

// entered records a sign-in.
func (c *Console) entered(r *http.Request) {
	c.Log.Info("console", "op", "console sign in", "addr", c.ClientAddr(r), "status", "success")
	c.record(r, opentera.LoginEvent_LOGIN_STATUS_SUCCESS)
}

// endSession answers DELETE /console/api/session.
func (c *Console) endSession(w http.ResponseWriter, r *http.Request) {
	c.door.end(r.Header.Get(tokenHeader))
	w.WriteHeader(http.StatusNoContent)
}

// record writes a sign-in to the event log, which no client receives.
func (c *Console) record(r *http.Request, status opentera.LoginEvent_LoginStatus) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), apiLimit/2)
	defer cancel()
	if err := c.Audit.Record(ctx, access.LoginRecord{Status: status, Type: opentera.LoginEvent_LOGIN_TYPE_PASSWORD, ClientIP: c.ClientAddr(r),
		Endpoint: r.URL.Path, Message: "console sign in"}); err != nil {
		c.Log.Error("not recorded in the event log", "op", "console sign in", "err", err)
	}
}

// read parses a small JSON body. If it cannot, the answer is written.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "the body must be a small JSON object")
		return false
	}
	return true
}

// open begins a session.
func (d *door) open(password string) (token string) {
	token = rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sessions) == mostSessions {
		d.sessions = d.sessions[1:]
	}
	d.sessions = append(d.sessions, session{sha256.Sum256([]byte(token)), sha256.Sum256([]byte(password)), time.Now().Add(sessionLifetime)})
	return token
}

func (d *door) knows(token, password string) bool {
	hash, bought := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(password))
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.sessions, func(s session) bool { return s.token == hash && s.password == bought && time.Now().Before(s.until) })
}

func (d *door) end(token string) {
	hash := sha256.Sum256([]byte(token))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions = slices.DeleteFunc(d.sessions, func(s session) bool { return s.token == hash })
}

// try counts a password before it is compared, so that concurrent guesses count too. It returns how long the address must wait,
// 0 if it may try.
func (d *door) try(addr string, now time.Time) (wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tries == nil {
		d.tries = map[string]tries{}
	}
	network, _ := access.Network(addr) // unknown addresses share one limit
	t, isThere := d.tries[network]
	spent := t.left(now)
	if spent+1 > wrongAtOnce {
		return time.Duration((spent + 1 - wrongAtOnce) * float64(wrongEvery))
	}
	if !isThere && len(d.tries) >= mostAddresses {
		maps.DeleteFunc(d.tries, func(_ string, t tries) bool { return t.left(now) == 0 })
		if len(d.tries) >= mostAddresses { // forgetting one would give it new tries
			return wrongEvery
		}
	}
	d.tries[network] = tries{spent + 1, now}
	return 0
}

// isNew reports whether an address was not seen for basicEvery, and notes it.
func (d *door) isNew(addr string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.basic[addr]) < basicEvery {
		return false
	}
	if d.basic == nil || len(d.basic) >= mostAddresses {
		d.basic = map[string]time.Time{}
	}
	d.basic[addr] = now
	return true
}

// forgive takes a correct password back out of the count.
func (d *door) forgive(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	network, _ := access.Network(addr)
	t := d.tries[network]
	d.tries[network] = tries{max(0, t.spent-1), t.at}
}
