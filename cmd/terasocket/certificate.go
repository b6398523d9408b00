package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"time"
)

// certificate is a TLS certificate in two files, with the CA of client certificates in a third. Files are reloaded when they
// change, or at once by readAgain. If they cannot be loaded, the last good certificate stays in use.
type certificate struct {
	certFile, keyFile string
	clientCA          string // "": client certificates are not requested
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	stamp   stamps
	checked time.Time
}

// stamps identify versions of the files.
type stamps [3]struct {
	changed time.Time
	size    int64
}

// certificateCheck is the minimum interval between checks of the files.
const certificateCheck = time.Second

// loadCertificate loads the files, so that a bad one fails at start.
func loadCertificate(certFile, keyFile, clientCA string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, clientCA: clientCA, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.read()
}

// config serves the certificate: TLS 1.2 and later, HTTP/1.1 only (websockets need it). Clients may present a certificate
// signed by clientCA.
func (c *certificate) config() *tls.Config {
	config := c.get().Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.get(), nil }
	return config
}

// readAgain reloads the files now. The error says why the old certificate stays in use.
func (c *certificate) readAgain() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read is called with mu held.
func (c *certificate) read() error {
	c.checked = time.Now()
	stamp, stampErr := c.stamps()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("--tls-cert %s and --tls-key %s: %w", c.certFile, c.keyFile, err)
	}
	config := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{"http/1.1"},
		Certificates:                []tls.Certificate{pair},
		DynamicRecordSizingDisabled: true, // an event is one record and one write
	}
	if c.clientCA != "" {
		signers, err := os.ReadFile(c.clientCA)
		if err != nil {
			return fmt.Errorf("read --client-ca: %w", err)
		}
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(signers) {
			return fmt.Errorf("--client-ca: %s holds no certificate", c.clientCA)
		}
	}
	if stampErr != nil {
		return fmt.Errorf("look at the TLS files: %w", stampErr)
	}
	c.current, c.stamp = config, stamp
	return nil
}

func (c *certificate) get() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateCheck {
		return c.current
	}
	c.checked = time.Now()
	if stamp, err := c.stamps(); err == nil && stamp == c.stamp {
		return c.current
	}
	if err := c.read(); err != nil {
		c.log.Error("TLS certificate not read again, the last one stays in use", "err", err)
	} else {
		c.log.Info("TLS certificate read again")
	}
	return c.current
}

func (c *certificate) stamps() (s stamps, err error) {
	for i, name := range []string{c.certFile, c.keyFile, c.clientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i].changed, s[i].size = info.ModTime(), info.Size()
	}
	return s, nil
}

// selfSigned writes a self-signed certificate for localhost that is valid for a month.
func selfSigned(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "terasocket demo"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	return nil
}
