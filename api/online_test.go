package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"terasocket/access"
)

// lister returns the same to everybody, or fails.
type lister struct {
	viewer       int32
	users        []access.OnlineUser
	participants []access.OnlineParticipant
	devices      []access.OnlineDevice
	err          error
}

func (l *lister) Users(_ context.Context, viewer int32) ([]access.OnlineUser, error) {
	l.viewer = viewer
	return l.users, l.err
}

func (l *lister) Participants(_ context.Context, viewer int32) ([]access.OnlineParticipant, error) {
	l.viewer = viewer
	return l.participants, l.err
}

func (l *lister) Devices(_ context.Context, viewer int32) ([]access.OnlineDevice, error) {
	l.viewer = viewer
	return l.devices, l.err
}

// crowd knows ada by several passwords and tokens, each with its own outcome.
type crowd struct{}

var people crowd

func (crowd) ByPassword(_ context.Context, _, password string) (access.Account, error) {
	ada := access.Account{Identity: access.Identity{Principal: access.Principal{Kind: access.User, ID: 7}, UUID: "uuid-7", Name: "Ada L."}}
	switch password {
	case "good":
		return ada, nil
	case "forced": // with 2FA too: the change comes first
		ada.MustChangePassword, ada.Needs2FA = true, true
		return ada, nil
	case "2fa":
		ada.Needs2FA = true
		return ada, nil
	case "down":
		return access.Account{}, errors.New("connection refused")
	case "busy":
		return access.Account{}, access.ErrBusy
	case "often":
		return access.Account{}, &access.TooMany{Wait: 90 * time.Second}
	}
	return access.Account{}, &access.Refusal{Status: wrongCode}
}

// ByToken accepts the passwords as tokens: a token needs no second step.
func (c crowd) ByToken(ctx context.Context, token string) (access.Account, error) {
	return c.ByPassword(ctx, "", token)
}

// doorstep counts the failures of addresses and keeps what was recorded.
type doorstep struct {
	mu      sync.Mutex
	wait    time.Duration
	waitErr error
	failed  int
	records []access.LoginRecord
	err     error // of writes
}

func (d *doorstep) Wait(context.Context, string) (time.Duration, error) { return d.wait, d.waitErr }

func (d *doorstep) Failed(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed++
	return d.err
}

func (d *doorstep) Record(_ context.Context, r access.LoginRecord) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, r)
	return d.err
}

// ask sends a request to a. auth is the Authorization header, or "basic:" and a password for HTTP Basic.
func ask(t *testing.T, a *API, method, path, auth, body string, changes ...with) *httptest.ResponseRecorder {
	t.Helper()
	var err error
	if a.Proxies, err = ParseProxies(nil); err != nil {
		t.Fatal(err)
	}
	if a.Addresses == nil {
		step := &doorstep{}
		a.Addresses, a.Audit, a.Strangers = step, step, NewStrangers()
	}
	if a.Log == nil {
		a.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	router := chi.NewRouter()
	router.Use(described(t))
	a.Routes(router)
	r := httptest.NewRequest(method, "http://h:1"+path, strings.NewReader(body))
	if password, isBasic := strings.CutPrefix(auth, "basic:"); isBasic {
		r.SetBasicAuth("ada", password)
	} else if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	if w.Header().Get("WWW-Authenticate") != "" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s: headers %v", path, w.Header())
	}
	return w
}

func mustAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if got := strings.TrimSuffix(w.Body.String(), "\n"); w.Code != status || got != body {
		t.Errorf("%d %s, want %d %s", w.Code, got, status, body)
	}
}

const tooManyBody = `"Too many failed attempts. Please wait and try again."`

const unavailableBody = `"Service unavailable, please try again."`

// What every endpoint for users answers to callers that it refuses.
func TestUserEndpointsRefuse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api/user/users/online", "/api/user/participants/online", "/api/user/devices/online", "/api/user/disconnect?id_user=9"} {
		for auth, want := range map[string]struct {
			status int
			body   string
		}{
			"":              {401, "Unauthorized"},
			"basic:bad":     {401, "Unauthorized"},
			"OpenTera bad":  {401, "Unauthorized"},
			"opentera good": {401, "Unauthorized"}, // another scheme
			"OpenTera":      {401, "Unauthorized"},
			"OpenTera down": {503, unavailableBody},
			"basic:often":   {429, tooManyBody},
			"basic:forced":  {401, `{"message":"Unauthorized - User must login first to change password"}`},
			"basic:2fa":     {401, `{"message":"Unauthorized - 2FA is enabled, must login first and use token"}`},
			"basic:busy":    {503, unavailableBody},
			"basic:down":    {503, unavailableBody},
		} {
			l, d := &lister{}, &disconnector{}
			mustAnswer(t, ask(t, &API{Users: people, Online: l, Disconnector: d}, http.MethodGet, path, auth, ""), want.status, want.body)
			if l.viewer != 0 || d.calls != nil {
				t.Errorf("%s with %s got as far as the database", path, auth)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			if w := ask(t, &API{Users: people}, method, path, "basic:good", ""); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
		// a browser's preflight
		w := ask(t, &API{Users: people}, http.MethodOptions, path, "", "")
		if h := w.Header(); w.Code != http.StatusOK || w.Body.Len() > 0 || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Access-Control-Allow-Methods") != "*" || h.Get("Access-Control-Allow-Headers") != "Authorization, *" {
			t.Errorf("OPTIONS %s: %d %v", path, w.Code, h)
		}
	}
}

func TestOnline(t *testing.T) {
	t.Parallel()
	project, site, siteID, group, email := "P", "S", int32(2), int32(4), "a@example.org"
	full := func() *lister {
		return &lister{
			users: []access.OnlineUser{{ID: 1, FirstName: "A", LastName: "B", UUID: "u", Name: "A B", IsOnline: true}, {ID: 2, IsSuperadmin: true, IsEnabled: true, Has2FA: true, IsBusy: true}},
			participants: []access.OnlineParticipant{{ID: 3, ProjectID: 5, Name: "p", UUID: "u", IsOnline: true, ProjectName: &project, SiteID: &siteID, SiteName: &site},
				{ID: 6, GroupID: &group, Email: &email, ProjectName: &project, SiteID: &siteID, SiteName: &site}},
			devices: []access.OnlineDevice{{ID: 7, Name: "d", UUID: "u", TypeID: 1, IsOnline: true, Status: access.OnlineDeviceStatus{IsOnline: true, Status: &access.DeviceStatus{Text: `{"a":1}`, At: "12.5"}}},
				{ID: 8, SubtypeID: &group, IsBusy: true, Status: access.OnlineDeviceStatus{IsBusy: true}}},
		}
	}
	participant := func(projects, sites string) string {
		return `[{"id_participant":3,"id_participant_group":null,"id_project":5,"participant_email":null,"participant_enabled":false,"participant_name":"p","participant_token_enabled":false,"participant_uuid":"u","participant_online":true,"participant_busy":false` + projects + sites +
			`},{"id_participant":6,"id_participant_group":4,"id_project":0,"participant_email":"a@example.org","participant_enabled":false,"participant_name":"","participant_token_enabled":false,"participant_uuid":"","participant_online":false,"participant_busy":false` + projects + sites + `}]`
	}
	const withProject, withSite = `,"project_name":"P"`, `,"id_site":2,"site_name":"S"`
	empty := func() *lister {
		return &lister{users: []access.OnlineUser{}, participants: []access.OnlineParticipant{}, devices: []access.OnlineDevice{}}
	}
	down := func() *lister { return &lister{err: errors.New("down")} }
	badBoolean := func(name string) string {
		return `{"errors":{"` + name + `":"must be true or false"},"message":"Input payload validation failed"}`
	}
	for _, test := range []struct {
		path   string
		lister func() *lister
		status int
		body   string
	}{
		{"users/online", full, 200, `[{"id_user":1,"user_2fa_enabled":false,"user_enabled":false,"user_firstname":"A","user_lastname":"B","user_superadmin":false,"user_uuid":"u","user_name":"A B","user_online":true,"user_busy":false},` +
			`{"id_user":2,"user_2fa_enabled":true,"user_enabled":true,"user_firstname":"","user_lastname":"","user_superadmin":true,"user_uuid":"","user_name":"","user_online":false,"user_busy":true}]`},
		{"users/online?unknown=1", empty, 200, `[]`},
		{"users/online", down, 503, unavailableBody},
		{"participants/online", full, 200, participant("", "")},
		{"participants/online?with_sites=false&with_projects=0", full, 200, participant("", "")},
		{"participants/online?with_projects=true", full, 200, participant(withProject, "")},
		{"participants/online?with_sites=1", full, 200, participant("", withSite)},
		{"participants/online?with_sites=True&with_projects=on", full, 200, participant(withProject, withSite)},
		{"participants/online?with_sites=2", full, 400, badBoolean("with_sites")},
		{"participants/online?with_projects=", full, 400, badBoolean("with_projects")},
		{"participants/online", empty, 200, `[]`},
		{"participants/online", down, 503, unavailableBody},
		{"devices/online", full, 200, `[{"device_enabled":false,"device_name":"d","device_uuid":"u","id_device":7,"id_device_subtype":null,"id_device_type":1,"device_online":true,"device_busy":false,"device_status":{"online":true,"busy":false,"status":{"status":"{\"a\":1}","timestamp":12.5}}},` +
			`{"device_enabled":false,"device_name":"","device_uuid":"","id_device":8,"id_device_subtype":4,"id_device_type":0,"device_online":false,"device_busy":true,"device_status":{"online":false,"busy":true,"status":null}}]`},
		{"devices/online", empty, 200, `[]`},
		{"devices/online", down, 503, unavailableBody},
	} {
		for _, auth := range []string{"basic:good", "OpenTera good", "OpenTera 2fa"} { // a token needs no second step
			t.Run(test.path+" "+auth, func(t *testing.T) {
				t.Parallel()
				l := test.lister()
				w := ask(t, &API{Users: people, Online: l}, http.MethodGet, "/api/user/"+test.path, auth, "")
				mustAnswer(t, w, test.status, test.body)
				if w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("Content-Type %s", w.Header().Get("Content-Type"))
				}
				if test.status != 400 && l.viewer != 7 {
					t.Errorf("listed for user %d", l.viewer)
				}
			})
		}
	}
}
