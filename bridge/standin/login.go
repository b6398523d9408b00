package standin

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"
)

// Login is the login part of OpenTera's REST API (sheet login): for a password or a token it returns a websocket URL with a
// ticket, which it stores in Redis for 60 s.
type Login struct {
	Redis      *redis.Client
	Pool       *pgxpool.Pool // OpenTera's database
	Manager    *UserManager  // knows who is online
	Websockets string        // put before /wss/...; "": wss:// and nginx's X_ExternalServer and X-ExternalPort
	Log        *slog.Logger
}

// Handler serves
//
//	GET /api/user/login?with_websocket=true      Basic
//	GET /api/user/refresh_token?with_websocket=true, /api/user/logout      Authorization: OpenTera <token>
//	GET /api/participant/login                   Authorization: OpenTera <token>, static or dynamic
//	GET /api/device/login                        Authorization: OpenTera <device token>
func (l *Login) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, do := range map[string]func(*http.Request) (any, error){
		"GET /api/user/login":         l.userLogin,
		"GET /api/user/refresh_token": l.userRefresh,
		"GET /api/user/logout":        l.userLogout,
		"GET /api/participant/login":  l.participantLogin,
		"GET /api/device/login":       l.deviceLogin,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			answer, err := do(r)
			code, refused := http.StatusOK, refusal(0)
			switch {
			case errors.As(err, &refused):
				code, answer = int(refused), refused.Error()
			case err != nil:
				l.Log.Error("login", "path", r.URL.Path, "err", err)
				code, answer = http.StatusInternalServerError, "Internal Server Error"
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	return mux
}

type refusal int

func (r refusal) Error() string {
	if r == http.StatusForbidden {
		return "User already logged in."
	}
	return "Unauthorized"
}

var errDeaf = errors.New("the user manager does not answer") // after 10 s; at once here

func (l *Login) userLogin(r *http.Request) (any, error) {
	name, password, _ := r.BasicAuth()
	var uuid, fullName, hash string
	err := l.Pool.QueryRow(r.Context(), `SELECT user_uuid, concat_ws(' ', user_firstname, user_lastname), user_password FROM t_users
		WHERE user_username = $1 AND user_enabled AND deleted_at IS NULL`, name).Scan(&uuid, &fullName, &hash)
	if err := allowed(err); err != nil {
		return nil, err
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return nil, refusal(http.StatusUnauthorized)
	}
	answer := map[string]any{"user_uuid": uuid, "user_fullname": fullName}
	if r.URL.Query().Get("with_websocket") == "true" {
		url, err := l.websocketURL(r, "user", uuid)
		if err != nil {
			return nil, err
		}
		if url == "" {
			return nil, refusal(http.StatusForbidden)
		}
		answer["websocket_url"] = url
	}
	answer["user_token"], err = l.sign(r.Context(), "UserTokenAPIKey", jwt.MapClaims{"user_uuid": uuid, "user_fullname": fullName}, time.Hour)
	return answer, err
}

func (l *Login) userRefresh(r *http.Request) (any, error) {
	uuid, token, err := l.bearer(r, "UserTokenAPIKey", "user_disabled_tokens", "user_uuid")
	if err != nil {
		return nil, err
	}
	answer := map[string]any{}
	if r.URL.Query().Get("with_websocket") == "true" {
		url, err := l.websocketURL(r, "user", uuid)
		if err != nil {
			return nil, err
		}
		if url != "" { // a principal that is online gets no URL and no error
			answer["websocket_url"] = url
		}
	}
	if answer["refresh_token"], err = l.sign(r.Context(), "UserTokenAPIKey", jwt.MapClaims{"user_uuid": uuid}, 30*time.Minute); err != nil {
		return nil, err
	}
	return answer, l.Redis.SAdd(r.Context(), "user_disabled_tokens", token).Err()
}

func (l *Login) userLogout(r *http.Request) (any, error) {
	uuid, token, err := l.bearer(r, "UserTokenAPIKey", "user_disabled_tokens", "user_uuid")
	if err != nil {
		return nil, err
	}
	if err := l.Redis.SAdd(r.Context(), "user_disabled_tokens", token).Err(); err != nil {
		return nil, err
	}
	return "User logged out.", Service{Redis: l.Redis}.Kick(r.Context(), uuid)
}

func (l *Login) participantLogin(r *http.Request) (any, error) {
	var uuid, name string
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "OpenTera ")
	const enabled = "SELECT participant_uuid, participant_name FROM t_participants WHERE participant_enabled AND deleted_at IS NULL AND "
	err := l.Pool.QueryRow(r.Context(), enabled+"participant_token_enabled AND participant_token = $1", token).Scan(&uuid, &name)
	if errors.Is(err, pgx.ErrNoRows) { // no static token
		if uuid, _, err = l.bearer(r, "ParticipantTokenAPIKey", "participant_disabled_tokens", "participant_uuid"); err != nil {
			return nil, err
		}
		err = allowed(l.Pool.QueryRow(r.Context(), enabled+"participant_uuid = $1", uuid).Scan(&uuid, &name))
	}
	if err != nil {
		return nil, err
	}
	url, err := l.websocketURL(r, "participant", uuid)
	switch {
	case err != nil:
		return nil, err
	case url == "" && r.URL.Query().Get("with_websocket") == "true":
		return nil, refusal(http.StatusForbidden)
	}
	return map[string]any{"participant_uuid": uuid, "participant_name": name, "websocket_url": url}, nil
}

func (l *Login) deviceLogin(r *http.Request) (any, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "OpenTera ")
	var uuid string
	if err := allowed(l.Pool.QueryRow(r.Context(), "SELECT device_uuid FROM t_devices WHERE device_token = $1 AND device_enabled AND deleted_at IS NULL", token).Scan(&uuid)); err != nil {
		return nil, err
	}
	url, err := l.websocketURL(r, "device", uuid)
	switch {
	case err != nil:
		return nil, err
	case url == "":
		return nil, refusal(http.StatusForbidden)
	}
	return map[string]any{"websocket_url": url}, nil
}

// allowed turns pgx.ErrNoRows into 401.
func allowed(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return refusal(http.StatusUnauthorized)
	}
	return err
}

// websocketURL creates a ticket and returns its URL, "" if the principal is online.
func (l *Login) websocketURL(r *http.Request, kind, uuid string) (string, error) {
	if !l.Manager.Hears() {
		return "", errDeaf
	}
	if slices.Contains(l.Manager.Online(kind), uuid) {
		return "", nil
	}
	ticket := Ticket(clientAddress(r), r.UserAgent())
	if err := l.Redis.Set(r.Context(), ticket, uuid, time.Minute).Err(); err != nil {
		return "", fmt.Errorf("put the ticket into Redis: %w", err)
	}
	base := l.Websockets
	if base == "" {
		base = "wss://" + net.JoinHostPort(strings.Join(append(r.Header["X_externalserver"], r.Header.Values("X-ExternalServer")...), ""), r.Header.Get("X-ExternalPort"))
	}
	return fmt.Sprintf("%s/wss/%s?id=%s", base, kind, ticket), nil
}

// Ticket returns the key of a ticket, which is the same for everybody with the same address and program.
func Ticket(address, userAgent string) string {
	sum := sha512.Sum512([]byte(address + "|" + userAgent))
	return hex.EncodeToString(sum[:])
}

func clientAddress(r *http.Request) string {
	if first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); first != "" {
		return strings.TrimSpace(first)
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

// sign signs a token with the key that is in Redis now.
func (l *Login) sign(ctx context.Context, key string, claims jwt.MapClaims, life time.Duration) (string, error) {
	secret, err := l.Redis.Get(ctx, key).Result()
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	now := time.Now()
	claims["iss"], claims["iat"], claims["exp"], claims["jti"] = "TeraServer", now.Unix(), now.Add(life).Unix(), rand.Text()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}

// bearer returns the UUID in the token of a request, verified with the key that is in Redis now.
func (l *Login) bearer(r *http.Request, key, disabled, claim string) (uuid, token string, err error) {
	token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "OpenTera ")
	isDisabled, err := l.Redis.SIsMember(r.Context(), disabled, token).Result()
	if err != nil {
		return "", "", err
	}
	secret, err := l.Redis.Get(r.Context(), key).Result()
	if err != nil {
		return "", "", fmt.Errorf("read %s: %w", key, err)
	}
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }, jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	uuid, _ = claims[claim].(string)
	if err != nil || isDisabled || uuid == "" {
		return "", "", refusal(http.StatusUnauthorized)
	}
	return uuid, token, nil
}
