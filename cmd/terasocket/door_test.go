package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
)

// Two gateways; a certificate of the authority logs a device in at the first.
func TestDoors(t *testing.T) {
	t.Parallel()
	url, authority := dbtest.New(t, migrated()), newAuthority(t)
	here, there := serve(t, url, "--client-ca", authority.file), serve(t, url)
	here.part("in and out", func(t *testing.T, here *served) { inAndOut(t, here, there) })
	here.part("device certificate", func(t *testing.T, here *served) { deviceCertificate(t, here, authority) })
	here.part("concurrent logins and handshakes", func(t *testing.T, here *served) { concurrentLogins(t, []*served{here, there}) })
}

// Log in, connect, receive, log out, see 4000, and see the token refused everywhere: for each kind of client.
func inAndOut(t *testing.T, here, there *served) {
	conn := here.conn()
	static := dbtest.One[string](t, conn, "SELECT participant_token FROM t_participants WHERE id_participant = 1")
	device := dbtest.One[string](t, conn, "SELECT device_token FROM t_devices WHERE id_device = 1")
	for _, c := range []struct {
		kind     access.Kind
		login    string
		show     func(*http.Request)
		tokenKey string // of the answer; "" = the one presented, which stays valid
		refresh  bool
		out      string
	}{
		{access.User, "/api/user/login?with_websocket=true", basic(opentera.DemoProjectAdmin), "user_token", true, `"User logged out."`},
		{access.Participant, "/api/participant/login", basic(opentera.DemoParticipant), "participant_token", true, `"Participant logged out."`},
		{access.Participant, "/api/participant/login", bearer(static), "", false, `"Participant logged out."`},
		{access.Device, "/api/device/login", bearer(device), "", false, `"Device logged out."`},
	} {
		name := "/api/" + c.kind.String()
		status, answer, text := here.visit(gatewaytest.Insecure, c.login, c.show)
		if status != 200 {
			t.Fatalf("%s: %d %s", c.login, status, text)
		}
		socket := dial(t, answer["websocket_url"].(string))
		unused := answer["websocket_url"].(string)
		message := `{"@type": "type.googleapis.com/opentera.protobuf.ParticipantEvent", "participantUuid": "` + opentera.DemoParticipantUUID + `", "type": "PARTICIPANT_CONNECTED"}`
		dbtest.Exec(t, conn, "SELECT terasocket.publish('module.TeraServer.UserManagerModule.events', $1::jsonb)", message)
		for {
			_, frame, err := socket.readFrame()
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			if bytes.Contains(frame, []byte(opentera.DemoParticipantUUID)) {
				break
			}
		}
		show := c.show
		if c.tokenKey != "" {
			show = bearer(answer[c.tokenKey].(string))
		}
		if c.refresh {
			status, answer, text := there.visit(gatewaytest.Insecure, name+"/refresh_token", show)
			if status != 200 {
				t.Fatalf("refresh elsewhere: %d %s", status, text)
			}
			if status, _, text := here.visit(gatewaytest.Insecure, name+"/logout", show); status != 401 {
				t.Errorf("%s: the token before the refresh: %d %s", name, status, text)
			}
			show = bearer(answer["refresh_token"].(string))
		}
		if status, _, text := there.visit(gatewaytest.Insecure, name+"/logout", show); status != 200 || text != c.out { // on the other gateway
			t.Errorf("logout: %d %s", status, text)
		}
		if closed := socket.closed(); closed.Code != 4000 {
			t.Errorf("%s closed with %v, want 4000", c.kind, closed)
		}
		// the gateway tells the database just after it: until then, a client that logs in again counts as online
		dbtest.Eventually(t, "offline", func() bool { return dbtest.One[int64](t, conn, "SELECT count(*) FROM terasocket.connections") == 0 })
		want := 401
		if c.tokenKey == "" {
			want = 200
		}
		for _, gateway := range []*served{here, there} {
			if status, _, text := gateway.visit(gatewaytest.Insecure, name+"/logout", show); status != want {
				t.Errorf("%s after the logout: %d %s", name, status, text)
			}
			if _, response, err := gatewaytest.Dial(t.Context(), strings.Replace(unused, here.URL, gateway.URL, 1)); err == nil || response == nil || response.StatusCode != 403 {
				t.Errorf("a used URL is accepted again: %v", err)
			}
		}
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "OpenTera CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var der []byte
	a.key, der = a.signed(template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) signed(template, parent *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// client returns a TLS client with a certificate of this name and UID.
func (a *authority) client(name, uid string, expires time.Time) *tls.Config {
	a.t.Helper()
	key, der := a.signed(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: expires, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		Subject: pkix.Name{CommonName: name, ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: uid}}},
	}, a.cert)
	config := gatewaytest.Insecure.Clone()
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return config
}

// A device logs in with its certificate alone, and only with a valid one.
func deviceCertificate(t *testing.T, gateway *served, good *authority) {
	other := newAuthority(t)
	soon := time.Now().Add(time.Hour)
	const uuid = opentera.DemoDeviceUUID
	for name, config := range map[string]*tls.Config{
		"no certificate":           gatewaytest.Insecure,
		"of a participant":         good.client("Participant", uuid, soon),
		"of an unknown device":     good.client("Device", "00000000-0000-4000-8000-000000000000", soon),
		"a UUID within the name":   good.client("Device,UID="+uuid, "x", soon),
		"of a device without UUID": good.client("Device", "", soon),
	} {
		if status, _, text := gateway.visit(config, "/api/device/login", func(r *http.Request) {
			r.Header.Set("X-SSL-CLIENT-DN", "UID="+uuid+",CN=Device") // trusted only from a proxy
			r.Header.Set("X-SSL-VERIFIED", "SUCCESS")
		}); status != 401 || text != `"Unauthorized"` {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, _, text := gateway.visit(good.client("Device", opentera.DemoDisabledDeviceUUID, soon), "/api/device/login", nil); status != 401 || text != `"Disabled device"` {
		t.Errorf("disabled: %d %s", status, text)
	}
	for name, config := range map[string]*tls.Config{"of another CA": other.client("Device", uuid, soon), "expired": good.client("Device", uuid, time.Now().Add(-time.Hour))} {
		connection, err := tls.Dial("tcp", strings.TrimPrefix(gateway.URL, "wss://"), config)
		if err == nil { // in TLS 1.3 the refusal arrives with the first read
			_, err = connection.Read(make([]byte, 1))
			_ = connection.Close()
		}
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	status, answer, text := gateway.visit(good.client("Device", uuid, soon), "/api/device/login", nil)
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	dial(t, answer["websocket_url"].(string))
}

func TestClientCAIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := selfSigned(cert, key); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{filepath.Join(dir, "missing.pem"): "read --client-ca", key: "holds no certificate"} {
		if _, err := loadCertificate(cert, key, file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// 200 logins and handshakes of 20 clients at once, on two gateways: every socket receives its owner's messages and no others;
// no URL works twice, nor for another kind.
func concurrentLogins(t *testing.T, gateways []*served) {
	pool := dbtest.Pool(t, gateways[0].dbURL)
	everybodyLeaves(t, pool)
	rows, err := pool.Query(t.Context(), `
		(SELECT 'participant', participant_uuid, participant_token FROM t_participants
		 WHERE participant_enabled AND participant_token_enabled AND deleted_at IS NULL ORDER BY 2 LIMIT 10)
		UNION ALL
		(SELECT 'device', device_uuid, device_token FROM t_devices WHERE device_enabled AND device_onlineable AND deleted_at IS NULL ORDER BY 2 LIMIT 10)`)
	if err != nil {
		t.Fatal(err)
	}
	type guest struct{ kind, uuid, token string }
	guests, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g guest, err error) { return g, row.Scan(&g.kind, &g.uuid, &g.token) })
	if err != nil || len(guests) != 20 {
		t.Fatal(len(guests), err)
	}
	refused := func(url string) {
		if connection, response, err := gatewaytest.Dial(t.Context(), url); err == nil || response == nil || response.StatusCode != 403 {
			t.Errorf("opens: %v", err)
			if err == nil {
				_ = connection.Close()
			}
		}
	}
	var all errgroup.Group
	all.SetLimit(40) // each has its own socket, and a handshake takes time
	var mu sync.Mutex
	sockets := map[guest][]*socket{}
	for i := range dbtest.Many(200, 60) {
		g, gateway := guests[i%20], gateways[i%2]
		all.Go(func() error {
			_, answer, _ := gateway.visit(gatewaytest.Insecure, "/api/"+g.kind+"/login", bearer(g.token))
			address, _ := answer["websocket_url"].(string)
			if address == "" {
				return nil // it is already online
			}
			for _, kind := range access.Kinds {
				if kind.String() != g.kind {
					refused(strings.Replace(address, "/wss/"+g.kind, "/wss/"+kind.String(), 1))
				}
			}
			connection, _, err := gatewaytest.Dial(t.Context(), address)
			if err != nil {
				return fmt.Errorf("%s: %w", g.kind, err)
			}
			refused(address)
			mu.Lock()
			defer mu.Unlock()
			sockets[g] = append(sockets[g], &socket{t: t, conn: connection})
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	for _, g := range guests {
		message, err := json.Marshal(map[string]string{"@type": "type.googleapis.com/opentera.protobuf.ArchiveEvent",
			"archiveUuid": g.uuid, "ownerUuid": g.uuid, "status": "STATUS_COMPLETED"})
		if err != nil {
			t.Fatal(err)
		}
		dbtest.Exec(t, pool, "SELECT terasocket.publish('service.FileTransferService.events', $1::jsonb)", string(message))
	}
	for _, g := range guests {
		if len(sockets[g]) == 0 {
			t.Errorf("%s %s has no socket", g.kind, g.uuid)
		}
		for _, s := range sockets[g] {
			// a kick after all messages proves that there are no others
			dbtest.Exec(t, pool, "SELECT terasocket.kick($1)", g.uuid)
			heard := 0
			for {
				_, frame, err := s.readFrame()
				if err != nil {
					break
				}
				e, err := event.ParseFrame(frame)
				if err != nil {
					t.Fatal(err)
				}
				if archive, ok := e.Message.(*pb.ArchiveEvent); ok {
					heard++
					if archive.GetOwnerUuid() != g.uuid {
						t.Errorf("%s received a message for %s", g.uuid, archive.GetOwnerUuid())
					}
				}
			}
			if heard != 1 {
				t.Errorf("%s %s received %d messages", g.kind, g.uuid, heard)
			}
			_ = s.conn.Close()
		}
	}
}
