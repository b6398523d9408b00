package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"terasocket/access"
)

// API serves /api/.... All fields but the settings at the end are required.
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
	Strangers    *rate.Limiter // limits recorded refusals of unknown callers; one for the whole gateway
	PublicURL    string        // --public-url, "" = derived from the request
	Log          *slog.Logger

	AllowedOrigins []string      // of browsers, "https://host[:port]"; empty = any, without credentials
	Limit          time.Duration // for a request and its body, except publishing; 0 = 20 s
	StatusRate     float64       // status posts a second of one device, in bursts of up to five times as many; 0 = 2

	visits, posts rates
	late          *semaphore.Weighted // records that are written in the background
}

// requestLimit is the default of API.Limit.
const requestLimit = 20 * time.Second

// Routes adds the endpoints to r.
func (a *API) Routes(r chi.Router) {
	a.late = semaphore.NewWeighted(lateRecords)
	r.Route("/api", func(r chi.Router) {
		r.Use(a.headers, a.knowsAddress)
		r.Route("/user", func(r chi.Router) {
			r.Use(a.limited)
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
			r.Use(a.limited)
			r.Get("/login", a.participantLogin)
			r.Get("/logout", a.participantLogout)
			r.Get("/refresh_token", a.participantRefresh)
		})
		r.Route("/device", func(r chi.Router) {
			r.Use(a.limited)
			r.Get("/login", a.deviceLogin)
			r.Get("/logout", a.deviceLogout)
			r.Post("/status", a.deviceStatus)
		})
		r.Route("/service", func(r chi.Router) {
			r.Post("/events", a.publishEvents)
			r.With(a.limited).Get("/disconnect", a.serviceDisconnect)
		})
	})
}

// limited sets a deadline for what a request waits for; past it the answer is 503.
func (a *API) limited(next http.Handler) http.Handler {
	limit := a.Limit
	if limit == 0 {
		limit = requestLimit
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// knowsAddress puts the client's address into the context, for the queue of password checks.
func (a *API) knowsAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(access.FromAddress(r.Context(), a.Proxies.ClientAddr(r))))
	})
}

func (a *API) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.Log.Debug("answer not written", "err", err)
	}
}

// unavailable answers 503 and logs why. Causes on the client's side are not logged as errors.
func (a *API) unavailable(w http.ResponseWriter, op string, err error) {
	switch {
	case errors.Is(err, access.ErrBusy):
		a.Log.Warn("too many logins at once", "op", op)
	case errors.Is(err, context.Canceled): // the client has gone: our own limits are deadlines
		a.Log.Debug("request given up by its client", "op", op, "err", err)
	default:
		a.Log.Error("request failed", "op", op, "err", err)
	}
	w.Header().Set("Retry-After", "5")
	a.answer(w, http.StatusServiceUnavailable, "Service unavailable, please try again.")
}
