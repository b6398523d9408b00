package api

import (
	"net/http"
	"net/url"
	"strings"
)

// headers sets the headers that OpenTera sends with every answer, and CORS headers. With AllowedOrigins, pages of these origins
// may send credentials, and pages of others can read nothing. Answers that contain tokens must not be cached.
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
			if isPreflight { // in a preflight * does not include Authorization
				h.Set("Access-Control-Allow-Headers", "Authorization, *")
			}
		case a.isAllowed(origin):
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true") // with credentials * is not a wildcard
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

const allowedHeaders = "Authorization, Content-Type, X-Client-Name, X-Client-Version, X-OS-Name, X-OS-Version"

func (a *API) isAllowed(origin string) bool {
	for _, allowed := range a.AllowedOrigins {
		if strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin) {
			return true
		}
	}
	return false
}

// isForeign reports whether a browser makes this request for a page of another origin that is not allowed: it may not use the
// session's cookie. Without AllowedOrigins, SameSite keeps the cookie from such pages.
func (a *API) isForeign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(a.AllowedOrigins) == 0 || origin == "" || a.isAllowed(origin) {
		return false
	}
	page, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(page.Hostname(), a.host(r))
}
