package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/access"
	"terasocket/api"
	webconsole "terasocket/console"
	"terasocket/doctor"
	"terasocket/ws"
)

// openConsole adds the console to health and metrics. client is the handler that the gateway serves on --listen.
func (g *gateway) openConsole(admin *api.Admin, client http.Handler, users *access.Users, proxies *api.Proxies, metrics prometheus.Gatherer) {
	isLoopback := false
	if g.admin != nil {
		addr, ok := g.admin.Addr().(*net.TCPAddr)
		isLoopback = ok && addr.IP.IsLoopback()
	}
	var deliveries webconsole.Deliveries
	if g.audit != nil {
		deliveries = g.audit
	}
	g.console = webconsole.New(webconsole.Config{
		Version:      version,
		Gateway:      g.presence.Name,
		Loopback:     isLoopback,
		PasswordFile: g.cfg.ConsolePassFile,
		Pool:         g.pool,
		Metrics:      metrics,
		Ready:        admin.Ready,
		Degraded:     admin.Degraded,
		Examine:      g.examine,
		Users:        users,
		Audit:        &access.Audit{Pool: g.pool},
		Deliveries:   deliveries,
		Strangers:    g.api.Strangers,
		Client:       client,
		ClientAddr:   proxies.ClientAddr,
		Log:          g.log,
	})
	mux := http.NewServeMux() // not chi: client is a chi router too, and would take its path from the outer one
	mux.Handle("/console", g.console)
	mux.Handle("/console/", g.console)
	mux.Handle("/", admin.Handler())
	g.adminSrv = newServer(mux, g.log)
	g.adminSrv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return webconsole.ConnContext(ws.ConnContext(ctx, c), c)
	}
}

// examine runs `terasocket doctor` with this gateway's settings, without the slow checks.
func (g *gateway) examine(ctx context.Context) ([]doctor.Finding, error) {
	databaseURL, err := g.cfg.url()
	if err != nil {
		return nil, err
	}
	pool, listener := g.cfg.sources(databaseURL)
	cfg := doctor.Config{
		PublicURL:         g.cfg.PublicURL,
		CertFile:          g.cfg.TLSCert,
		KeyFile:           g.cfg.TLSKey,
		TrustedProxies:    g.cfg.TrustedProxies,
		ProxyCertificates: g.cfg.ProxyCertificates,
		Retention:         g.cfg.LogRetention,
		MaxRows:           g.cfg.LogMaxRows,
		AuditDeliveries:   g.cfg.AuditDeliveries,
		AuditRetention:    g.cfg.AuditRetention,
		Quick:             true,
	}
	if pem, err := os.ReadFile(cfg.CertFile); err == nil { // it may be self-signed; an unreadable one becomes a finding
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(pem)
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	if cfg.DatabaseURL, err = pool(); err != nil {
		return nil, err
	}
	if g.cfg.ListenDatabaseURL != "" {
		if cfg.ListenDatabaseURL, err = listener(); err != nil {
			return nil, err
		}
	}
	if g.cfg.RedisURL != "" {
		if cfg.RedisURL, err = g.cfg.redisAddress()(); err != nil {
			return nil, err
		}
	}
	return doctor.Examine(ctx, cfg)
}
