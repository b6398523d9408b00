package api

import (
	"net/http"
	"net/url"
	"strings"
)

// headers sets what OpenTera sends with every answer, and what browsers need to let a page of another origin read it. With
// AllowedOrigins, pages of these may send their credentials, pages of others read nothing. Answers with tokens in them are
// not for caches.
func (a *API) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		isPreflight := r.Method == http.MethodOptions
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Cache-Control", "no-store")
		switch origin := r.Header.Get("Origin"); {
		case len(a.AllowedOrigins) == 0 || origin == "":
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Headers", "*")
			h.Set("Access-Control-Allow-Methods", "*")
			h.Set("Access-Control-Expose-Headers", "Retry-After")
			if isPreflight { // a browser asks what it may send; to it, * alone is without Authorization
				h.Set("Access-Control-Allow-Headers", "Authorization, *")
			}
		case a.isAllowed(origin):
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true") // with them, * is no wildcard
			h.Set("Access-Control-Allow-Headers", allowedHeaders)
			h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
			h.Set("Access-Control-Expose-Headers", "Retry-After")
		}
		if len(a.AllowedOrigins) > 0 {
			h.Set("Vary", "Origin")
		}
		if isPreflight {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowedHeaders are those that clients of OpenTera send.
const allowedHeaders = "Authorization, Content-Type, X-Client-Name, X-Client-Version, X-OS-Name, X-OS-Version"

func (a *API) isAllowed(origin string) bool {
	for _, allowed := range a.AllowedOrigins {
		if strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin) {
			return true
		}
	}
	return false
}

// isForeign says whether a browser makes this request for a page that may not use the session's cookie: one of neither this
// server nor the allowed origins. Without these the cookie itself is kept from them (SameSite).
func (a *API) isForeign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(a.AllowedOrigins) == 0 || origin == "" || a.isAllowed(origin) {
		return false
	}
	page, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(page.Hostname(), a.host(r))
}
