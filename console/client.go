package console

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// clientPath is the path of the gateway's own REST and sockets, on the page's own origin.
const clientPath = "/console/client"

// forClients are the endpoints of these that the page uses. The sockets need no session: a browser's websocket cannot carry
// one, and the connect token in its URL opens no more than on the gateway's own address.
var forClients = []string{
	"/api/user/login", "/api/user/login/2fa", "/api/user/refresh_token", "/api/user/disconnect", "/api/service/disconnect",
	"/api/participant/login", "/api/participant/refresh_token", "/api/device/login",
}

// client passes a request on to the gateway, without the headers that only a proxy may set.
func (c *Console) client(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, clientPath)
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = path, ""
	addr := c.ClientAddr(r)
	r.Header.Del("Origin") // it is the console's own; --allowed-origins is for others
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Ssl-") || strings.HasPrefix(name, "X-External") || strings.HasPrefix(name, "X_") {
			r.Header.Del(name)
		}
	}
	if addr != "" && addr != c.ClientAddr(r) { // reported by a trusted proxy
		r.Header.Set("X-Forwarded-For", addr)
	}
	switch {
	case strings.HasPrefix(path, "/wss/"):
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.cuttable.add(r.URL.Query().Get("cut"), conn)
		}
		c.Client.ServeHTTP(w, r)
	case slices.Contains(forClients, path):
		if c.isKnown(w, r) {
			c.Client.ServeHTTP(w, r)
		}
	default:
		refuse(w, http.StatusNotFound, "unknown", "there is nothing here")
	}
}

type connKey struct{}

// ConnContext is for the http.Server: it lets the page cut the connection of a socket that it opened.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// mostCuttable is how many sockets of the page can be cut, the newest ones.
const mostCuttable = 32

// cuttable holds connections by a secret that the page chose.
type cuttable struct {
	mu    sync.Mutex
	conns []struct {
		secret string
		conn   net.Conn
	}
}

func (c *cuttable) add(secret string, conn net.Conn) {
	if len(secret) < 16 || len(secret) > 64 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) == mostCuttable {
		c.conns = c.conns[1:]
	}
	c.conns = append(c.conns, struct {
		secret string
		conn   net.Conn
	}{secret, conn})
}

// take returns a connection once; nil if there is none.
func (c *cuttable) take(secret string) (conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range c.conns {
		if k.secret == secret {
			c.conns = slices.Delete(c.conns, i, i+1)
			return k.conn
		}
	}
	return nil
}

// cut answers POST /console/api/cut {"secret": ...}: it drops the connection of that socket without a close frame, as when a
// network breaks.
func (c *Console) cut(w http.ResponseWriter, r *http.Request) {
	var given struct{ Secret string }
	if !read(w, r, &given) {
		return
	}
	conn := c.cuttable.take(given.Secret)
	if conn == nil {
		refuse(w, http.StatusNotFound, "no_socket", "there is no such socket")
		return
	}
	if outbox, ok := conn.(interface{ Abort() }); ok {
		outbox.Abort()
	} else {
		_ = conn.Close()
	}
	w.WriteHeader(http.StatusNoContent)
}
