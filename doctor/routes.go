package doctor

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// notOurs are endpoints of newer versions of OpenTera (1.3.1) that belong together, in OpenTera's own session: one e-mails a
// code, the other takes the new password.
const notOurs = "location /api/user/login/forgot_password and location /api/user/login/change_password"

// passwordRoutes checks who answers the endpoints for forgotten passwords.
func (d *doctor) passwordRoutes(ctx context.Context) Finding {
	if d.PublicURL == "" {
		return skip("not asked: no --public-url given", "")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(d.PublicURL, "ws", "http", 1)+"/api/user/login/forgot_password", nil)
	if err != nil {
		return fail("not asked: "+errPublicURL.Error(), "write it as wss://host:port")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: d.tlsConfig(), DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	response, err := client.Do(request)
	if err != nil {
		return fail("not reached: "+cause(err), "see that the name resolves, the port is open, and the certificate is right")
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
	if response.StatusCode == http.StatusNotFound && strings.TrimSpace(string(body)) == "404 page not found" {
		return warn("forgotten passwords are led to the gateway, which knows nothing of them",
			"from OpenTera 1.3.1 on, lead "+notOurs+" to OpenTera; nothing to do before")
	}
	return fine("forgotten passwords are another server's (%s)", response.Status)
}
