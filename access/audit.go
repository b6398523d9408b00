package access

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/encoding/protojson"

	"terasocket/proto/opentera"
)

// Audit writes logins, refusals and logouts to the event log, with no audience.
type Audit struct {
	Pool *pgxpool.Pool
}

// LoginRecord describes one LoginEvent. Never put a secret into it.
type LoginRecord struct {
	At            time.Time                       // zero: now
	Status        opentera.LoginEvent_LoginStatus // UNKNOWN: not a login, for example a logout
	Type          opentera.LoginEvent_LoginType
	Who           Identity // zero: nobody, or a service
	ServiceUUID   string
	ClientName    string
	ClientVersion string
	ClientIP      string
	OSName        string
	OSVersion     string
	Endpoint      string
	Message       string
}

// Record writes r to OpenTera's topic log.error for a refusal, otherwise log.info. Errors: the database's.
func (a *Audit) Record(ctx context.Context, r LoginRecord) error {
	topic, level := "log.info", opentera.LogEvent_LOGLEVEL_INFO
	if r.Status > opentera.LoginEvent_LOGIN_STATUS_SUCCESS {
		topic, level = "log.error", opentera.LogEvent_LOGLEVEL_ERROR
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	e := &opentera.LoginEvent{
		LogHeader: &opentera.LogEvent{
			Level:     level,
			Timestamp: float64(r.At.UnixMicro()) / 1e6,
			Sender:    "terasocket",
			Message:   printable(r.Message),
		},
		LoginType:      r.Type,
		LoginStatus:    r.Status,
		ClientName:     printable(r.ClientName),
		ClientVersion:  printable(r.ClientVersion),
		ClientIp:       printable(r.ClientIP),
		OsName:         printable(r.OSName),
		OsVersion:      printable(r.OSVersion),
		ServiceUuid:    printable(r.ServiceUUID),
		ServerEndpoint: printable(r.Endpoint),
	}
	switch uuid := printable(r.Who.UUID); r.Who.Kind {
	case User:
		e.UserUuid = uuid
	case Participant:
		e.ParticipantUuid = uuid
	case Device:
		e.DeviceUuid = uuid
	}
	body, err := protojson.Marshal(e)
	if err != nil {
		return fmt.Errorf("record login: %w", err)
	}
	if _, err := a.Pool.Exec(ctx, "SELECT terasocket.record_login($1, $2::jsonb)", topic, string(body)); err != nil {
		return fmt.Errorf("record login: %w", err)
	}
	return nil
}

// printable returns a client's text in a form that can be stored, so that anything it sends is recorded.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const most = 200
	for i := range text {
		if i > most {
			return strings.ToValidUTF8(text[:most], "")
		}
	}
	return text
}
