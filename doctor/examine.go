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
	DatabaseURL          string // what serve works with
	ListenDatabaseURL    string // its LISTEN connection; "" = the same
	MigrationDatabaseURL string // of the owner of OpenTera's tables; "" = the same as DatabaseURL
	RedisURL             string // of a running OpenTera
	PublicURL            string // wss://host:port, through the proxy
	TLS                  *tls.Config
	CertFile, KeyFile    string
	TrustedProxies       []string
	Retention            time.Duration // of the event log
	MaxRows              int64
	AuditDeliveries      bool // serve records who is sent what
	AuditRetention       time.Duration
	As                   string              // KIND:UUID of who holds a socket open; "" = nobody
	Quick                bool                // hold none
	Tell                 func(Finding) error // hears each finding at once; nil = nobody
}

// doctor is an examination.
type doctor struct {
	Config
	serving   *patient         // DatabaseURL
	listening *patient         // ListenDatabaseURL, or the same URL
	owning    *patient         // MigrationDatabaseURL, or the same URL
	redis     *redis.Client    // RedisURL; nil before its first check
	now       func() time.Time // this machine's clock
	limit     time.Duration    // of a check: what does not answer gives a line, not a hang
	hold      time.Duration    // how long a socket must survive
	long      time.Duration    // from when on a transaction is a long one

	websocketURL string // what OpenTera's login has given, with a ticket in it
	hasSocket    bool   // it has opened a socket, of a client at
	address      string // "" = a gateway does not know where
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

// patients are the databases, each once.
func (d *doctor) patients() []*patient {
	all := []*patient{d.serving}
	for _, p := range []*patient{d.listening, d.owning} {
		if p != d.serving {
			all = append(all, p)
		}
	}
	return all
}

// check is one question to the installation.
type check struct {
	name  string
	needs []string      // checks before it: when one has failed or was skipped, this one is skipped
	limit time.Duration // 0 = that of the examination
	ask   func(context.Context) Finding
}

// checks are all of them, in the order of the report.
func (d *doctor) checks() []check {
	var all []check
	for _, some := range [][]check{d.serverChecks(), d.schemaChecks(), d.rightsChecks(), d.triggerChecks(), d.announcementChecks(), d.poolerChecks(),
		d.logChecks(), d.auditChecks(), d.fleetChecks(), d.certificateChecks(), d.publicChecks(), d.redisChecks(), d.socketChecks()} {
		all = append(all, some...)
	}
	return all
}

// Examine asks one check after the other. The error is that of ctx or of Tell; what is wrong with the installation is
// among the findings.
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
	if f.Status == Fail && time.Until(end) < limit/50 { // a connection that was given the deadline ends a moment before ctx does
		f.Found = fmt.Sprintf("no answer within %s: %s", limit, f.Found)
	}
	return f
}
