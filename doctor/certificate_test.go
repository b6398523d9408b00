package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair is a certificate for a host, and its key, in files.
type pair struct{ cert, key string }

func newPair(t *testing.T, host string, from, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")}
	for name, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// ages of certificates: from, until, and the expected status.
var ages = map[string]struct {
	from, until time.Duration
	want        Status
	words       string
}{
	"good":      {-time.Hour, 365 * 24 * time.Hour, OK, "good until"},
	"soon over": {-time.Hour, 10*24*time.Hour + time.Hour, Warn, "in 10 days"},
	"expired":   {-48 * time.Hour, -time.Hour, Fail, "expired at"},
	"too young": {time.Hour, 365 * 24 * time.Hour, Fail, "not valid before"},
}

func TestCertificateInFiles(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, age := range ages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "tera.example", now.Add(age.from), now.Add(age.until))
			d := newDoctor(Config{CertFile: p.cert, KeyFile: p.key, PublicURL: "wss://tera.example:4050"})
			ask(t, d, "certificate").must(t, age.want, age.words)
		})
	}
	good := newPair(t, "tera.example", now, now.Add(365*24*time.Hour))
	other := newPair(t, "tera.example", now, now.Add(365*24*time.Hour))
	ask(t, newDoctor(Config{CertFile: good.cert, KeyFile: other.key}), "certificate").must(t, Fail, "private key does not match")
	ask(t, newDoctor(Config{CertFile: good.cert}), "certificate").must(t, Fail, "--tls-key")
	ask(t, newDoctor(Config{CertFile: good.cert, KeyFile: good.key, PublicURL: "wss://other.example"}), "certificate").must(t, Warn, "other.example")
	ask(t, newDoctor(Config{CertFile: good.cert, KeyFile: good.key, PublicURL: "ws://other.example"}), "certificate").must(t, OK)
}

// A chain expires with the first of its certificates.
func TestChain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	leaf, between := &x509.Certificate{NotAfter: now.Add(1000 * time.Hour)}, &x509.Certificate{NotAfter: now.Add(-time.Hour)}
	judgeExpiry([]*x509.Certificate{leaf, between}, now).must(t, Fail, "expired")
	judgeExpiry([]*x509.Certificate{leaf}, now).must(t, OK)
}

// shown serves TLS with a certificate for localhost.
func shown(t *testing.T, p pair) (url string, trust *tls.Config) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	text, err := os.ReadFile(p.cert)
	if err != nil {
		t.Fatal(err)
	}
	trust = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	trust.RootCAs.AppendCertsFromPEM(text)
	return strings.Replace(server.URL, "https://127.0.0.1", "wss://localhost", 1), trust
}

func TestCertificateShown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, age := range ages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, trust := shown(t, newPair(t, "localhost", now.Add(age.from), now.Add(age.until)))
			ask(t, newDoctor(Config{PublicURL: url, TLS: trust}), "public-certificate").must(t, age.want, age.words)
		})
	}
	t.Run("nobody's", func(t *testing.T) {
		t.Parallel()
		url, trust := shown(t, newPair(t, "localhost", now.Add(-time.Hour), now.Add(365*24*time.Hour)))
		ask(t, newDoctor(Config{PublicURL: url}), "public-certificate").must(t, Fail, "unknown authority", "--ca FILE")
		ask(t, newDoctor(Config{PublicURL: url}), "public-url").must(t, Skip, "public-certificate must be right first")
		ask(t, newDoctor(Config{PublicURL: url, TLS: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}), "public-certificate").must(t, OK)
		ask(t, newDoctor(Config{PublicURL: strings.Replace(url, "localhost", "127.0.0.1", 1), TLS: trust}), "public-certificate").must(t, Fail, "127.0.0.1")
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(server.Close)
		url := strings.Replace(server.URL, "http", "ws", 1)
		ask(t, newDoctor(Config{PublicURL: url}), "public-certificate").must(t, Warn, "plain HTTP")
		ask(t, newDoctor(Config{PublicURL: strings.Replace(url, "ws", "wss", 1)}), "public-certificate").must(t, Fail, "TLS is spoken")
	})
}
