package gatewaytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
)

// Insecure accepts any certificate.
var Insecure = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}

// Certificate writes a self-signed certificate for 127.0.0.1 and its key into dir.
func Certificate(dir string) (certFile, keyFile string, err error) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err = os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600); err == nil {
		err = os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
	}
	return certFile, keyFile, err
}

// Dial opens a websocket. The response says why one was refused; nil: no response.
func Dial(ctx context.Context, url string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	return (&websocket.Dialer{TLSClientConfig: Insecure}).DialContext(ctx, url, nil)
}

// Raw returns the TCP connection below a websocket, which can be closed without a close frame.
func Raw(conn *websocket.Conn) *net.TCPConn {
	raw := conn.NetConn()
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	return raw.(*net.TCPConn)
}

// Parse parses a frame of either encoding. It leaves Event empty.
func Parse(kind int, data []byte) (event.Received, error) {
	var message pb.TeraMessage
	var outer pb.TeraEvent
	unmarshal := protojson.Unmarshal
	if kind == websocket.BinaryMessage {
		unmarshal = proto.Unmarshal
	}
	err := unmarshal(data, &message)
	if err == nil {
		err = message.GetMessage().UnmarshalTo(&outer)
	}
	if err == nil && len(outer.GetEvents()) != 1 {
		err = fmt.Errorf("%d events in it, want 1", len(outer.GetEvents()))
	}
	if err != nil {
		return event.Received{}, fmt.Errorf("read frame %q: %w", data, err)
	}
	inner, err := outer.GetEvents()[0].UnmarshalNew()
	return event.Received{Seq: outer.GetHeader().GetSeq(), Topic: outer.GetHeader().GetTopic(), Message: inner}, err
}
