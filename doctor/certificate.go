package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// certificateChecks check the certificate in the files, and the one that clients are shown.
func (d *doctor) certificateChecks() []check {
	return []check{
		{name: "certificate", ask: d.certificateOfFiles},
		{name: "public-certificate", ask: d.certificateShown},
	}
}

// soon is how long before its end a certificate should be renewed.
const soon = 30 * 24 * time.Hour

func (d *doctor) certificateOfFiles(context.Context) Finding {
	if d.CertFile == "" && d.KeyFile == "" {
		return skip("no --tls-cert and --tls-key given", "")
	}
	pair, err := tls.LoadX509KeyPair(d.CertFile, d.KeyFile)
	if err != nil {
		return fail(err.Error(), "give a certificate chain and its key, PEM, as --tls-cert and --tls-key")
	}
	chain, err := parseChain(pair.Certificate)
	if err != nil {
		return fail(err.Error(), "make the certificate anew")
	}
	f := judgeExpiry(chain, d.now())
	public, err := parsePublic(d.PublicURL)
	if f.Status != Fail && err == nil && public.isTLS {
		if err := chain[0].VerifyHostname(public.host); err != nil {
			return warn(err.Error(), "unless a proxy in front shows another one, clients refuse it: get one for "+public.host)
		}
	}
	return f
}

func parseChain(raw [][]byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for _, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// judgeExpiry: a chain is valid as long as each certificate in it.
func judgeExpiry(chain []*x509.Certificate, now time.Time) Finding {
	begins, ends := chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(ends) {
			ends = c.NotAfter
		}
	}
	switch {
	case now.Before(begins):
		return fail("not valid before "+stamp(begins), "set this machine's clock, or make the certificate anew")
	case now.After(ends):
		return fail("expired at "+stamp(ends), "renew it")
	case ends.Sub(now) < soon:
		return warn(fmt.Sprintf("expires at %s, in %d days", stamp(ends), int(ends.Sub(now).Hours()/24)), "renew it: a gateway reads it again by itself")
	}
	return fine("good until %s", stamp(ends))
}

// certificateShown asks the public URL itself: a proxy may still use an old certificate.
func (d *doctor) certificateShown(ctx context.Context) Finding {
	if d.PublicURL == "" {
		return skip("no --public-url given", "")
	}
	public, err := parsePublic(d.PublicURL)
	if err != nil {
		return waits("public-url")
	}
	if !public.isTLS {
		return warn("none: "+public.address+" is plain HTTP", "let a proxy terminate TLS: tokens and health data are readable on the way")
	}
	config := d.tlsConfig()
	config.InsecureSkipVerify = true // judged below
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", public.address)
	if err != nil {
		return fail(err.Error(), "see that the name resolves, the port is open, and TLS is spoken there")
	}
	defer func() { _ = conn.Close() }()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	f := judgeExpiry(chain, d.now())
	if f.Status == Fail || d.tlsConfig().InsecureSkipVerify {
		return f
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if err := chain[0].VerifyHostname(public.host); err != nil {
		return fail(err.Error(), "get a certificate for "+public.host)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: between, CurrentTime: d.now()})
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return fail(err.Error(), "serve the whole chain, of an authority that clients trust; if it is your own, give it as --ca FILE")
	case err != nil:
		return fail(err.Error(), "get another certificate")
	}
	return f
}

// tlsConfig returns a copy of the given config.
func (d *doctor) tlsConfig() *tls.Config {
	if d.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return d.TLS.Clone()
}
