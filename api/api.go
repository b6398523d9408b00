package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"terasocket/access"
)

// Credentials checks a user's name and password.
// Errors: access.ErrUnauthorized, access.ErrBusy, or the database's.
type Credentials interface {
	User(ctx context.Context, username, password string) (access.Login, error)
}

// Minter makes connect tokens.
type Minter interface {
	Create(ctx context.Context, kind access.Kind, uuid string) (string, error)
}

// API answers /api/... All fields are needed.
type API struct {
	Credentials  Credentials
	Minter       Minter
	Services     ServiceDoor
	Publisher    Publisher
	Online       OnlineLister
	Devices      DeviceDoor
	DeviceStatus DeviceStatus
	Disconnector Disconnector
	Proxies      *Proxies
	PublicURL    string // --public-url, "" = from the request
	Log          *slog.Logger
}

// Routes adds the endpoints to r.
func (a *API) Routes(r chi.Router) {
	r.Route("/api", func(r chi.Router) {
		r.Use(openTeraHeaders)
		r.Get("/user/login", a.userLogin)
		r.Get("/user/users/online", a.usersOnline)
		r.Get("/user/participants/online", a.participantsOnline)
		r.Get("/user/devices/online", a.devicesOnline)
		r.Get("/user/disconnect", a.userDisconnect)
		r.Post("/device/status", a.deviceStatus)
		r.Post("/service/events", a.publishEvents)
		r.Get("/service/disconnect", a.serviceDisconnect)
	})
}

// openTeraHeaders sets what OpenTera sends with every answer. Answers with tokens in them are not for caches.
func openTeraHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Allow-Methods", "*")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (a *API) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.Log.Debug("answer not written", "err", err)
	}
}
