package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config says what to examine. What is empty is not examined.
type Config struct {
	DatabaseURL          string // of serve
	ListenDatabaseURL    string // its LISTEN connection; "" = the same
	MigrationDatabaseURL string // as the owner of OpenTera's tables; "" = DatabaseURL
	RedisURL             string // of a running OpenTera
	PublicURL            string // wss://host:port, through the proxy
	TLS                  *tls.Config
	CertFile, KeyFile    string
	TrustedProxies       []string
	ProxyCertificates    bool          // they verify client certificates
	Retention            time.Duration // of the event log
	MaxRows              int64
	AuditDeliveries      bool // serve records deliveries
	AuditRetention       time.Duration
	As                   string              // KIND:UUID of the principal to hold a socket as; "" = nobody
	Quick                bool                // hold no socket
	Tell                 func(Finding) error // called with each finding at once; nil = not called
}

// doctor is one examination.
type doctor struct {
	Config
	serving   *patient         // DatabaseURL
	listening *patient         // ListenDatabaseURL, or the same URL
	owning    *patient         // MigrationDatabaseURL, or the same URL
	redis     *redis.Client    // RedisURL; nil before its first check
	now       func() time.Time // this machine's clock
	limit     time.Duration    // of a check, so that an unresponsive server costs a line, not a hang
	hold      time.Duration    // how long a socket must survive
	long      time.Duration    // a transaction open for longer is a long one

	websocketURL string // from OpenTera's login, with a ticket in it
	hasSocket    bool   // it has opened a socket, for a client at
	address      string // "" = the gateway does not know the address
}

func newDoctor(cfg Config) *doctor {
	serving := &patient{flag: "--database-url", url: cfg.DatabaseURL}
	d := &doctor{
		Config:    cfg,
		serving:   serving,
		listening: serving,
		owning:    serving,
		now:       time.Now,
		limit:     5 * time.Second,
		hold:      35 * time.Second,
		long:      5 * time.Minute,
	}
	if cfg.ListenDatabaseURL != "" {
		d.listening = &patient{flag: "--listen-database-url", url: cfg.ListenDatabaseURL}
	}
	if cfg.MigrationDatabaseURL != "" {
		d.owning = &patient{flag: "--migration-database-url", url: cfg.MigrationDatabaseURL}
	}
	return d
}

// patients returns the databases, each once.
func (d *doctor) patients() []*patient {
	all := []*patient{d.serving}
	for _, p := range []*patient{d.listening, d.owning} {
		if p != d.serving {
			all = append(all, p)
		}
	}
	return all
}

// check is one check of the installation.
type check struct {
	name  string
	needs []string      // earlier checks: if one has failed or was skipped, this one is skipped
	limit time.Duration // 0 = the examination's
	ask   func(context.Context) Finding
}

// checks returns all checks, in the order of the report.
func (d *doctor) checks() []check {
	var all []check
	for _, some := range [][]check{d.serverChecks(), d.schemaChecks(), d.rightsChecks(), d.triggerChecks(), d.announcementChecks(), d.poolerChecks(),
		d.logChecks(), d.auditChecks(), d.fleetChecks(), d.certificateChecks(), d.publicChecks(), d.redisChecks(), d.socketChecks()} {
		all = append(all, some...)
	}
	return all
}

// Examine runs the checks in order. The error is that of ctx or of Tell; problems of the installation are findings.
func Examine(ctx context.Context, cfg Config) ([]Finding, error) {
	d := newDoctor(cfg)
	defer d.close()
	return d.examine(ctx, d.checks())
}

func (d *doctor) close() {
	for _, p := range d.patients() {
		p.close()
	}
	if d.redis != nil {
		_ = d.redis.Close()
	}
}

func (d *doctor) examine(ctx context.Context, checks []check) ([]Finding, error) {
	findings := make([]Finding, 0, len(checks))
	went := map[string]Finding{}
	for _, c := range checks {
		f := d.one(ctx, c, went).oneLine()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("not examined to the end: %w", ctx.Err())
		}
		f.Name = c.name
		went[c.name] = f
		findings = append(findings, f)
		if d.Tell != nil {
			if err := d.Tell(f); err != nil {
				return nil, err
			}
		}
	}
	return findings, nil
}

func (d *doctor) one(ctx context.Context, c check, went map[string]Finding) Finding {
	for _, name := range c.needs {
		switch f := went[name]; {
		case f.Waits != "":
			return waits(f.Waits)
		case f.Status == Fail || f.Status == Skip:
			return waits(name)
		}
	}
	limit := c.limit
	if limit == 0 {
		limit = d.limit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	end := time.Now().Add(limit)
	f := c.ask(ctx)
	if f.Status == Fail && time.Until(end) < limit/50 { // a connection with the deadline ends a moment before ctx does
		f.Found = fmt.Sprintf("no answer within %s: %s", limit, f.Found)
	}
	return f
}
