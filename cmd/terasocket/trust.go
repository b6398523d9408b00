package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// trustFlags are for commands that connect to a gateway.
type trustFlags struct {
	CA       string `name:"ca" placeholder:"FILE" help:"Trust this certificate."`
	Insecure bool   `name:"insecure" help:"Trust any certificate."`
}

func (c trustFlags) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // requested explicitly
	if c.CA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: %s holds no certificate", c.CA)
	}
	return config, nil
}
