package bridge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/bridge"
	"terasocket/bridge/standin"
	"terasocket/db/embedded"
	"terasocket/db/opentera"
)

// certificate writes a self-signed certificate for an address, and its key.
func certificate(t *testing.T, address string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(address)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// startTLS starts a redis-server with TLS on a second port, and returns it and the rediss:// address.
func startTLS(t *testing.T, certFile, keyFile string, settings ...string) (server *standin.Redis, secure string) {
	t.Helper()
	port, err := embedded.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if server, err = standin.StartRedis(t.Context(), append([]string{"--tls-port", strconv.Itoa(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no"}, settings...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// bridge.md 0: rediss:// verifies the certificate, by the system's authorities or ca=FILE, unless told not to.
func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t, "127.0.0.1")
	server, secure := startTLS(t, certFile, keyFile)
	otherCert, otherKey := certificate(t, "192.0.2.1")
	_, elsewhere := startTLS(t, otherCert, otherKey)
	noPEM := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(noPEM, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		address, says string
		isSetting     bool
	}{
		"ca":            {"rediss://" + secure + "/0?ca=" + certFile, "", false},
		"insecure":      {"rediss://" + secure + "/0?insecure=true", "", false},
		"unknown":       {"rediss://" + secure, "its certificate cannot be trusted", true},
		"not insecure":  {"rediss://" + secure + "?insecure=false", "its certificate cannot be trusted", true},
		"other ca":      {"rediss://" + secure + "?ca=" + otherCert, "its certificate cannot be trusted", true},
		"other address": {"rediss://" + elsewhere + "?ca=" + otherCert, "its certificate cannot be trusted", true},
		"plain to TLS":  {"redis://" + secure, "then write rediss://", false},
		"TLS to plain":  {"rediss://" + server.Address() + "?insecure=true", "does it speak TLS at this address?", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := open(test.address)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = bridge.Check(t.Context(), client)
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
			var setting *bridge.SettingError
			if errors.As(err, &setting) != test.isSetting {
				t.Errorf("a SettingError: %t, want %t", !test.isSetting, test.isSetting)
			}
		})
	}
	for address, want := range map[string]string{
		"rediss://h?ca=" + noPEM: "holds no certificate", "rediss://h?ca=x&insecure=true": "exclude each other",
		"rediss://h?insecure=1": "insecure is true or false", "redis://h?insecure=true": "write rediss://",
	} {
		if _, err := open(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// bridge.md 0: tickets and keys are read from the database of the address, as its user, over TLS; a password changed in its
// file counts at the next connection. The user needs the rights in docs/operators.md and no others: each of these commands is
// in Redis 6.0.
func TestAnotherUserDatabaseAndPassword(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t, "127.0.0.1")
	server, secure := startTLS(t, certFile, keyFile)
	owner, err := open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	do := func(words string) {
		t.Helper()
		var command []any
		for word := range strings.FieldsSeq(words) {
			command = append(command, word)
		}
		if err := owner.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("ACL SETUSER gateway reset on >first " + everyRight(t, owner))
	password := "first"
	client, err := bridge.Open(func() (string, error) {
		return "rediss://gateway:" + password + "@" + secure + "/3?ca=" + certFile, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tickets := &bridge.Tickets{Redis: client, Tokens: &access.Tokens{Pool: newPool(t)}}
	redeem := func(ticket string) error {
		_, err := tickets.Redeem(t.Context(), access.User, ticket)
		return err
	}
	inZero := ticketOf("zero")
	do("SET " + inZero + " " + opentera.DemoProjectUserUUID + " EX 60")
	if err := redeem(inZero); !errors.Is(err, access.ErrRefused) {
		t.Errorf("a ticket of another database: %v", err)
	}
	inThree, err := open("redis://" + server.Address() + "/3")
	if err != nil {
		t.Fatal(err)
	}
	defer inThree.Close()
	login := func(agent string) (ticket string) {
		t.Helper()
		if err := inThree.Set(t.Context(), ticketOf(agent), opentera.DemoProjectUserUUID, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		return ticketOf(agent)
	}
	if err := redeem(login("three")); err != nil {
		t.Error(err)
	}
	keys := &bridge.Keys{Redis: client}
	if err := inThree.Set(t.Context(), "UserTokenAPIKey", strings.Repeat("k", 32), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if key, isDisabled, err := keys.Look(t.Context(), "user", "a.b.c"); key == "" || isDisabled || err != nil {
		t.Errorf("%q, %t, %v", key, isDisabled, err)
	}
	if isFirst, err := keys.Disable(t.Context(), "user", "a.b.c"); !isFirst || err != nil {
		t.Errorf("%t, %v", isFirst, err)
	}
	do("ACL SETUSER gateway resetpass >second")
	do("CLIENT KILL TYPE normal USER gateway")
	if err := redeem(login("locked out")); err == nil || !strings.Contains(err.Error(), "password is wrong") || strings.Contains(err.Error(), "first") {
		t.Errorf("with the old password: %v", err)
	}
	password = "second"
	if err := redeem(login("let in again")); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}
