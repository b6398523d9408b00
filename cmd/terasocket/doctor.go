package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
	ProxyCertificates    bool          `name:"proxy-certificates" help:"As serve has it."`
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
	return "One line a check: ok, warn, FAIL or skip, its name, what was found, and after a dash what to do; at the end what FAILs again. Nothing is changed; " +
		"with --as, somebody comes online. The exit code is 1 when something FAILs."
}

func (c *doctorCmd) Validate() error {
	switch {
	case c.As == "":
		return nil
	case c.PublicURL == "":
		return errors.New("--as needs --public-url: where to connect as that one")
	}
	if _, _, err := access.ParseRef(c.As); err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	return nil
}

// Run runs the checks and prints the findings.
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
		ProxyCertificates:    c.ProxyCertificates,
		Retention:            c.LogRetention,
		MaxRows:              c.LogMaxRows,
		AuditDeliveries:      c.AuditDeliveries,
		AuditRetention:       c.AuditRetention,
		As:                   c.As,
		Quick:                c.Quick,
	}
	waiting := map[string]int{} // skipped checks, by the check that they wait for
	if !c.JSON {
		cfg.Tell = func(f doctor.Finding) error {
			if f.Waits != "" {
				waiting[f.Waits]++
				return nil
			}
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
	failed := slices.DeleteFunc(slices.Clone(findings), func(f doctor.Finding) bool { return f.Status != doctor.Fail })
	var end strings.Builder
	if c.JSON {
		err = json.NewEncoder(&end).Encode(map[string]any{"ok": len(failed) == 0, "checks": findings})
	} else {
		for _, name := range slices.Sorted(maps.Keys(waiting)) {
			_, _ = fmt.Fprintf(&end, "%-4s  %d checks wait for: %s\n", doctor.Skip, waiting[name], name)
		}
		for i, f := range failed {
			if i == 0 {
				end.WriteByte('\n')
			}
			_, _ = fmt.Fprintln(&end, f)
		}
	}
	if err == nil {
		_, err = io.WriteString(con.stdout, end.String())
	}
	switch {
	case err != nil:
		return fmt.Errorf("print: %w", err)
	case len(failed) == 0:
		return nil
	case len(failed) == 1:
		return errors.New("1 check failed: " + failed[0].Name)
	}
	var names []string
	for _, f := range failed {
		names = append(names, f.Name)
	}
	return fmt.Errorf("%d checks failed: %s", len(failed), strings.Join(names, ", "))
}
