package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"terasocket/access"
)

// API answers /api/... All fields are needed.
type API struct {
	Door         *Door
	Users        Users
	Devices      Devices
	Services     Services
	Addresses    Addresses
	Audit        Audit
	Publisher    Publisher
	Online       OnlineLister
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
		r.Route("/user", func(r chi.Router) {
			r.Get("/login", a.userLogin)
			r.Get("/login/2fa", a.userSecondFactor)
			r.Post("/login/2fa", a.userSecondFactor)
			r.Get("/login/setup_2fa", a.userOfferOTP)
			r.Post("/login/setup_2fa", a.userSetUpOTP)
			r.Post("/login/change_password", a.userChangePassword)
			r.Get("/logout", a.userLogout)
			r.Get("/refresh_token", a.userRefresh)
			r.Get("/users/online", a.usersOnline)
			r.Get("/participants/online", a.participantsOnline)
			r.Get("/devices/online", a.devicesOnline)
			r.Get("/disconnect", a.userDisconnect)
		})
		r.Route("/participant", func(r chi.Router) {
			r.Get("/login", a.participantLogin)
			r.Get("/logout", a.participantLogout)
			r.Get("/refresh_token", a.participantRefresh)
		})
		r.Route("/device", func(r chi.Router) {
			r.Get("/login", a.deviceLogin)
			r.Get("/logout", a.deviceLogout)
			r.Post("/status", a.deviceStatus)
		})
		r.Route("/service", func(r chi.Router) {
			r.Post("/events", a.publishEvents)
			r.Get("/disconnect", a.serviceDisconnect)
		})
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
		if r.Method == http.MethodOptions { // a browser asks what it may send; to it, * alone is without credentials
			h.Set("Access-Control-Allow-Headers", "Authorization, *")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer writes JSON.
func (a *API) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.Log.Debug("answer not written", "err", err)
	}
}

// unavailable answers what nobody could say now.
func (a *API) unavailable(w http.ResponseWriter, op string, err error) {
	if errors.Is(err, access.ErrBusy) {
		a.Log.Warn("too many logins at once", "op", op)
	} else {
		a.Log.Error("request failed", "op", op, "err", err)
	}
	w.Header().Set("Retry-After", "5")
	a.answer(w, http.StatusServiceUnavailable, "Service unavailable, please try again.")
}
