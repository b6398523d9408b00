package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"terasocket/access"
	"terasocket/doctor"
)

type doctorCmd struct {
	databaseFlags
	redisFlags
	trustFlags
	ListenDatabaseURL    string        `name:"listen-database-url" placeholder:"URL" help:"As serve has it."`
	MigrationDatabaseURL string        `name:"migration-database-url" placeholder:"URL" help:"As migrate has it: what only the owner may read is read with it."`
	PublicURL            string        `name:"public-url" placeholder:"URL" help:"Where clients connect, through the proxy: wss://host:port."`
	TLSCert              string        `name:"tls-cert" placeholder:"FILE" help:"As serve has it."`
	TLSKey               string        `name:"tls-key" placeholder:"FILE" help:"As serve has it."`
	TrustedProxies       []string      `name:"trusted-proxies" placeholder:"ADDR" help:"As serve has it."`
	LogRetention         time.Duration `name:"log-retention" default:"24h" help:"As serve has it."`
	LogMaxRows           int64         `name:"log-max-rows" default:"1000000" help:"As serve has it."`
	AuditDeliveries      bool          `name:"audit-deliveries" help:"As serve has it."`
	AuditRetention       time.Duration `name:"audit-retention" default:"8760h" help:"As serve has it."`
	As                   string        `name:"as" placeholder:"KIND:UUID" help:"Hold a socket open for 35 s as this user, participant or device, who is seen to be online meanwhile; with --redis-url, also log in at OpenTera."`
	Quick                bool          `name:"quick" help:"Leave out what takes 35 s."`
	JSON                 bool          `name:"json" help:"Print one JSON object."`
}

// Help is printed below the flags.
func (c *doctorCmd) Help() string {
	return "One line a check: ok, warn, FAIL or skip, its name, what was found, and after a dash what to do. Nothing is changed; " +
		"with --as, somebody comes online. The exit code is 1 when something FAILs."
}

// Validate refuses an --as that is no KIND:UUID.
func (c *doctorCmd) Validate() error {
	if c.As == "" {
		return nil
	}
	if _, _, err := access.ParseRef(c.As); err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	return nil
}

// Run asks everything and prints what was found.
func (c *doctorCmd) Run(ctx context.Context, con *console) error {
	tlsConfig, err := c.tls()
	if err != nil {
		return err
	}
	cfg := doctor.Config{
		DatabaseURL:          c.DatabaseURL,
		ListenDatabaseURL:    c.ListenDatabaseURL,
		MigrationDatabaseURL: c.MigrationDatabaseURL,
		RedisURL:             c.RedisURL,
		PublicURL:            c.PublicURL,
		TLS:                  tlsConfig,
		CertFile:             c.TLSCert,
		KeyFile:              c.TLSKey,
		TrustedProxies:       c.TrustedProxies,
		Retention:            c.LogRetention,
		MaxRows:              c.LogMaxRows,
		AuditDeliveries:      c.AuditDeliveries,
		AuditRetention:       c.AuditRetention,
		As:                   c.As,
		Quick:                c.Quick,
	}
	if !c.JSON {
		cfg.Tell = func(f doctor.Finding) error {
			if _, err := fmt.Fprintln(con.stdout, f); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		}
	}
	findings, err := doctor.Examine(ctx, cfg)
	if err != nil {
		return err
	}
	failed := 0
	for _, f := range findings {
		if f.Status == doctor.Fail {
			failed++
		}
	}
	if c.JSON {
		if err := json.NewEncoder(con.stdout).Encode(map[string]any{"ok": failed == 0, "checks": findings}); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 check failed")
	}
	return fmt.Errorf("%d checks failed", failed)
}
