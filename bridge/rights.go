package bridge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// noTicket is a key that OpenTera's login never uses.
var noTicket = strings.Repeat("0", 128)

// rights are the commands that the Redis user must be allowed.
var rights = [...][]any{
	{"GET", noTicket}, {"PTTL", noTicket}, {"DEL", noTicket},
	{"GET", "UserTokenAPIKey"}, {"GET", "ParticipantTokenAPIKey"}, {"GET", "ServiceTokenAPIKey"},
	{"SISMEMBER", "user_disabled_tokens", ""}, {"SISMEMBER", "participant_disabled_tokens", ""},
	{"SADD", "user_disabled_tokens", ""}, {"SADD", "participant_disabled_tokens", ""},
	{"PUBLISH", messagesTopic, ""}, {"PUBLISH", rpcTopic, ""},
	{"SUBSCRIBE", messagesTopic}, {"SUBSCRIBE", eventsTopic}, {"SUBSCRIBE", archiveTopic}, {"SUBSCRIBE", repliesTopic + "x"},
	{"PSUBSCRIBE", "websocket.user.*.events"}, {"PSUBSCRIBE", "websocket.participant.*.events"}, {"PSUBSCRIBE", "websocket.device.*.events"},
	{"PSUBSCRIBE", commandTopics + "*"},
}

// Check verifies that Redis answers, accepts the user and the database of the address, and allows all rights. It tries them in
// a transaction that is discarded: nothing is read or written.
func Check(ctx context.Context, client *redis.Client) error {
	options := *client.Options()
	apart := redis.NewClient(&options) // a connection inside a transaction must not return to the pool
	defer apart.Close()
	conn := apart.Conn()
	defer conn.Close()
	if err := conn.Ping(ctx).Err(); err != nil {
		return mindTLS(client, err, inWords(client, "PING", err))
	}
	if err := conn.Do(ctx, "MULTI").Err(); err != nil {
		return inWords(client, "MULTI", err)
	}
	var refused error
	for _, command := range rights {
		err := conn.Do(ctx, command...).Err()
		if err != nil && !isRedisError(err) {
			return inWords(client, "", err)
		}
		if isRefused(err) && refused == nil {
			refused = inWords(client, fmt.Sprintf("%s %s", command[0], command[1]), err)
		}
	}
	// after a refusal this is how the transaction ends, too
	if err := conn.Do(ctx, "DISCARD").Err(); err != nil && refused == nil {
		return inWords(client, "DISCARD", err)
	}
	return refused
}

// SettingError is an error that waiting does not fix: password, rights, database, certificate.
type SettingError struct{ text string }

func (e *SettingError) Error() string { return e.text }

func isSetting(err error) bool {
	var setting *SettingError
	return errors.As(err, &setting)
}

func isRedisError(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused)
}

func isRefused(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "NOPERM ") || isUnknown(err))
}

// isUnknown reports whether Redis lacks the command. Its answer quotes the arguments, which must not get into a log.
func isUnknown(err error) bool { return strings.Contains(err.Error(), "unknown command") }

// refusedCommand matches the command in a refusal by Redis.
var refusedCommand = regexp.MustCompile(`to run the '([a-z|]+)' command`)

// inWords explains an error of a command ("": of no command), with what to do about it.
func inWords(client *redis.Client, command string, err error) error {
	user := client.Options().Username
	if user == "" {
		user = "default"
	}
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch text := err.Error(); {
	case strings.Contains(text, "WRONGPASS"):
		return &SettingError{fmt.Sprintf("the user %s or its password is wrong", user)}
	case strings.Contains(text, "NOAUTH"):
		return &SettingError{"Redis wants a password: write redis://user:password@host:port/db (user is default with requirepass)"}
	case strings.Contains(text, "without any password configured"):
		return &SettingError{"Redis has no password for this user: leave it out"}
	case isUnknown(err):
		name, _, _ := strings.Cut(command, " ")
		return &SettingError{fmt.Sprintf("this Redis has no command %s: was it renamed in redis.conf?", name)}
	case isRefused(err):
		return &SettingError{fmt.Sprintf("the user %s lacks a right: %s", user, grant(user, command, text))}
	case strings.Contains(text, "DB index is out of range"):
		return &SettingError{fmt.Sprintf("there is no database %d: see databases in redis.conf, and db in OpenTera's settings", client.Options().DB)}
	case errors.As(err, &unknown), errors.As(err, &wrongName), errors.As(err, &invalid):
		return &SettingError{fmt.Sprintf("its certificate cannot be trusted (%v): name its authority with ?ca=FILE", err)}
	}
	return fmt.Errorf("ask Redis: %w", err)
}

// mindTLS explains an unanswered new connection that may be TLS against plaintext. Neither side says so.
func mindTLS(client *redis.Client, err, inWords error) error {
	if isSetting(inWords) || errors.Is(err, syscall.ECONNREFUSED) {
		return inWords
	}
	isTLS := client.Options().TLSConfig != nil
	switch text := err.Error(); {
	case isTLS && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "timeout") || strings.Contains(text, "tls: first record")):
		return fmt.Errorf("does it speak TLS at this address? %w", inWords)
	case !isTLS && (errors.Is(err, io.EOF) || strings.Contains(text, "connection reset")):
		return fmt.Errorf("does it speak TLS at this address? then write rediss://: %w", inWords)
	}
	return inWords
}

// grant names the missing right, from Redis' refusal.
func grant(user, command, refusal string) string {
	_, object, _ := strings.Cut(command, " ")
	right := "~*" // a ticket may be any key
	if of := refusedCommand.FindStringSubmatch(refusal); of != nil {
		right = "+" + of[1]
	} else if strings.Contains(refusal, "channel") {
		right = "&" + object
	} else if object != noTicket {
		right = "~" + object
	}
	return fmt.Sprintf("ACL SETUSER %s %s", user, right)
}
