package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/api"
	"terasocket/audit"
	webconsole "terasocket/console"
	"terasocket/db"
	"terasocket/eventlog"
	"terasocket/migrations"
	"terasocket/presence"
	"terasocket/ws"
)

// gateway is everything that one process runs.
type gateway struct {
	cfg         *serveCmd
	log         *slog.Logger
	pool        *pgxpool.Pool
	listener    *db.Listener
	events      *events
	hub         *ws.Hub
	presence    *presence.Registry
	dispatcher  *ws.Dispatcher
	tokens      *access.Tokens
	audit       *audit.Recorder // nil: without --audit-deliveries
	sockets     net.Listener    // sockets and REST
	admin       net.Listener    // nil: none
	server      *http.Server
	adminSrv    *http.Server
	api         *api.API
	console     *webconsole.Console
	certificate *certificate    // nil: no TLS
	openTera    *besideOpenTera // nil: without --redis-url
}

// Limits of the HTTP server: a handshake must not take longer, and no request for us has larger headers.
const (
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second // including the body; websockets have their own limits
	writeTimeout   = 2 * time.Minute  // from the request to the end of its answer
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
	beginEvery     = 5 * time.Millisecond

	sayNotReadyEvery = 2 * time.Second // while waiting for the event log

	adminConnections = 32 // at once, out of the descriptors that clients do not get
)

// failureLimit bounds the handshakes with bad tokens per address.
var failureLimit = ws.FailureLimit{PerMinute: 300, Burst: 300}

// openGateway connects to the database, LISTENs and binds the addresses, so that any problem shows at start. Nothing runs yet.
// The caller calls close.
func openGateway(ctx context.Context, cfg *serveCmd, log *slog.Logger) (_ *gateway, err error) {
	defer func() { err = whatWasSilent(err) }()
	databaseURL, err := cfg.url()
	if err != nil {
		return nil, err
	}
	proxies, err := api.ParseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	proxies.Certificates = cfg.ProxyCertificates
	encoding, err := cfg.encoding()
	if err != nil {
		return nil, err
	}
	g := &gateway{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, cfg.WaitForDatabase+openTimeout)
	defer cancel()
	poolURL, listenerURL := cfg.sources(databaseURL)
	if cfg.RedisURL != "" {
		if g.openTera, err = openRedis(ctx, cfg.redisAddress(), log); err != nil {
			return nil, err
		}
	}
	if g.pool, err = openPool(ctx, poolURL, cfg.WaitForDatabase, log); err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, g.pool); err != nil {
		return nil, err
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		eventlog.NewGauges(g.pool), cfg.lostLines())
	dbMetrics, wsMetrics := db.NewMetrics(registry), ws.NewMetrics(registry)
	listenFlag, listenURL := "--listen-database-url", cfg.ListenDatabaseURL
	if listenURL == "" {
		listenFlag, listenURL = "--database-url", databaseURL
	}
	if err := checkDatabaseURL(listenFlag, listenURL); err != nil {
		return nil, err
	}
	if g.listener, err = db.Listen(ctx, db.ListenerConfig{Source: listenerURL, Log: log, Metrics: dbMetrics}); err != nil {
		return nil, fmt.Errorf("%s: %w", listenFlag, err)
	}
	if err := g.listener.MustShareDatabase(ctx, g.pool); err != nil {
		return nil, err
	}
	g.events = newEvents(cfg, g.pool, g.listener, log, registry)
	if err := g.events.announcer.First(ctx); err != nil {
		return nil, err
	}
	g.hub = ws.NewHub(g.events.history, log, wsMetrics)
	g.hub.PerPrincipal = cfg.MaxSockets
	g.dispatcher = &ws.Dispatcher{
		Source:  g.events.feed,
		Hub:     g.hub,
		Log:     log,
		Metrics: wsMetrics,
	}
	g.tokens = &access.Tokens{Pool: g.pool}

	g.presence = presence.New(presence.Config{
		Pool: g.pool,

		PublicURL: cfg.PublicURL,

		Lease: cfg.PresenceLease,
		Grace: cfg.PresenceGrace,
		Log:   log,
	})

	var auditor ws.Auditor
	if cfg.AuditDeliveries {
		g.audit = audit.New(audit.Config{Pool: g.pool, Retention: cfg.AuditRetention, Log: log}, registry)
		auditor = g.audit
	}
	router := chi.NewRouter()
	ws.Handler{
		Tokens:          g.redeemer(),
		Hub:             g.hub,
		Log:             log,
		Metrics:         wsMetrics,
		Replays:         g.events.history,
		Replacer:        g.tokens,
		Auditor:         auditor,
		Roster:          &presence.Roster{Pool: g.pool},
		DefaultEncoding: encoding,
		AllowedOrigins:  cfg.AllowedOrigins,
		Failures:        failureLimit,
		Limits:          ws.Limits{Backlog: cfg.MaxBacklog},
		Presence:        g.presence,
		Ready:           g.listener.Connected, // without it there are no events, and soon no database either: say so at once
		ClientAddr:      proxies.ClientAddr,
	}.Routes(router)
	keys, passwords := &access.Keys{Pool: g.pool, Shared: g.sharedKeys()}, access.NewPasswords(access.PasswordCost)
	users := &access.Users{Pool: g.pool, Passwords: passwords, Keys: keys}
	devices, online := &access.Devices{Pool: g.pool}, &access.Online{Pool: g.pool}
	g.api = &api.API{
		Door: &api.Door{
			Users:        users,
			Participants: &access.Participants{Pool: g.pool, Passwords: passwords, Keys: keys},
			Devices:      devices,
			Tokens:       g.tokens,
			Online:       online,
			Versions:     &access.ClientVersions{Pool: g.pool},
		},
		Users:        users,
		Devices:      devices,
		Services:     &access.Services{Pool: g.pool, Shared: g.sharedKeys()},
		Addresses:    &access.Addresses{Pool: g.pool},
		Audit:        &access.Audit{Pool: g.pool},
		Publisher:    &access.Publisher{Pool: g.pool},
		Online:       online,
		DeviceStatus: devices,
		Disconnector: &access.Disconnector{Pool: g.pool},
		Proxies:      proxies,
		Strangers:    api.NewStrangers(),
		PublicURL:    cfg.PublicURL,
		Log:          log,

		AllowedOrigins: cfg.AllowedOrigins,
		StatusRate:     cfg.StatusRate,
	}
	g.api.Routes(router)
	g.server = newServer(router, log)
	if err := g.bind(); err != nil {
		return nil, err
	}
	g.presence.Name = gatewayName(g.sockets.Addr().String())
	if g.audit != nil {
		g.audit.Gateway = g.presence.Name
		if err := g.audit.Start(ctx); err != nil {
			return nil, fmt.Errorf("--audit-deliveries: %w", err)
		}
	}
	g.openConsole(&api.Admin{Ready: func(r *http.Request) error { return db.Unreachable(g.ready(r.Context())) }, Degraded: g.openTera.degraded, Metrics: registry}, router, users, proxies, registry)
	if g.openTera != nil {
		g.openTera.connect(g.pool, g.presence.Name, log, registry)
	}
	if err := g.presence.Register(ctx); err != nil {
		return nil, err
	}
	return g, g.presence.Succeed(ctx)
}

// gatewayName is the name in terasocket.gateways. Without the process id it is the same after a restart
// (terasocket.gateway_succeed).
func gatewayName(listen string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s %s (%d)", host, listen, os.Getpid())
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           ws.Answered(handler),
		ConnContext:       ws.ConnContext,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // port scanners, mostly
	}
}

func (g *gateway) bind() error {
	var tlsConfig *tls.Config
	if !g.cfg.PlainHTTP {
		var err error
		if g.certificate, err = loadCertificate(g.cfg.TLSCert, g.cfg.TLSKey, g.cfg.ClientCA, g.log); err != nil {
			return err
		}
		tlsConfig = g.certificate.config()
	}
	listener, err := net.Listen("tcp", g.cfg.Listen)
	if err != nil {
		return cannotListen("--listen", g.cfg.Listen, err)
	}
	g.sockets = &ws.SocketListener{Listener: listener}
	if tlsConfig != nil {
		g.sockets = tls.NewListener(g.sockets, tlsConfig)
	}
	if g.cfg.AdminListen == "" {
		return nil
	}
	admin, err := net.Listen("tcp", g.cfg.AdminListen)
	if err != nil {
		return cannotListen("--admin-listen", g.cfg.AdminListen, err)
	}
	g.admin = &ws.SocketListener{Listener: admin, Handshakes: adminConnections}
	return nil
}

// cannotListen explains why an address cannot be bound, and what to do.
func cannotListen(flag, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken, perhaps by another gateway: stop that one, or give another address", flag, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE, or a proxy in front of a higher one", flag, address)
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// close releases what openGateway acquired.
func (g *gateway) close() {
	if g.sockets != nil {
		_ = g.sockets.Close()
	}
	if g.admin != nil {
		_ = g.admin.Close()
	}
	if g.listener != nil {
		g.listener.Close()
	}
	if g.openTera != nil {
		g.openTera.close()
	}
	if g.pool != nil {
		closePool(g.pool)
	}
}

// run serves until ctx ends, then stops. It calls onReady when it accepts sockets.
func (g *gateway) run(ctx context.Context, onReady func()) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return g.listener.Run(running) })
	group.Go(func() error { return g.dispatcher.Run(running) })
	group.Go(func() error { return g.presence.Run(running) })
	group.Go(func() error { return g.tokens.RunSweep(running, g.log) })
	group.Go(func() error { return g.events.run(running) })
	group.Go(func() error { g.readAgain(running); return nil })
	if g.audit != nil {
		group.Go(func() error { return g.audit.Run(running) })
	}
	if g.openTera != nil {
		group.Go(func() error { return g.openTera.run(running) })
	}
	group.Go(func() error { return serveHTTP(g.server, g.sockets) })
	if g.admin != nil {
		group.Go(func() error { return serveHTTP(g.adminSrv, g.admin) })
		group.Go(func() error { return g.console.Run(running) })
	}
	group.Go(func() error {
		if g.begins(running) {
			onReady()
		}
		return nil
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-running.Done(): // something failed
		}
		defer stop()
		return g.stop(context.WithoutCancel(ctx))
	})
	return waitAtMost(ctx, group.Wait, g.cfg.DrainTime+stopWithin)
}

// begins waits until the event log is read for the first time; false if ctx ended first.
func (g *gateway) begins(ctx context.Context) bool {
	tick, late := time.NewTicker(beginEvery), time.NewTicker(sayNotReadyEvery)
	defer tick.Stop()
	defer late.Stop()
	for !g.hub.Ready() {
		select {
		case <-ctx.Done():
			return false
		case <-late.C:
			if err := g.ready(ctx); err != nil {
				g.log.Warn("not ready yet", "op", "start", "err", err)
			}
		case <-tick.C:
		}
	}
	return true
}

func serveHTTP(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return nil
}

// ready returns why clients cannot connect now.
func (g *gateway) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch {
	case g.hub.Draining():
		return errors.New("draining")
	case !g.listener.Connected():
		return errors.New("the LISTEN connection is down")
	}
	if err := migrations.Check(ctx, g.pool); err != nil {
		return err
	}
	if err := db.Ready(ctx, g.pool); err != nil {
		return err
	}
	if err := g.events.ready(ctx); err != nil {
		return err
	}
	if g.hub.Ready() {
		return nil
	}
	if err := g.events.progress.Err(0); err != nil {
		return fmt.Errorf("the event log is not read yet: %w", err)
	}
	return errors.New("the event log is not read yet")
}

// url returns what clients put before /wss/...
func (g *gateway) url() string {
	scheme := "wss://"
	if g.cfg.PlainHTTP {
		scheme = "ws://"
	}
	return scheme + g.sockets.Addr().String()
}

// adminAddress returns the address of health and metrics.
func (g *gateway) adminAddress() string {
	if g.admin == nil {
		return "no health and metrics"
	}
	return "health and metrics on http://" + g.admin.Addr().String()
}
