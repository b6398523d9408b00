package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrDisabled is returned for the valid token of a disabled device.
var ErrDisabled = errors.New("disabled device")

// Devices authenticates devices by the static tokens that OpenTera issues (HS256 with the server setting TokenEncryptionKey, claim
// device_uuid), and stores the status that they report.
type Devices struct {
	Pool *pgxpool.Pool
}

//go:embed sql/device_by_token.sql
var deviceByTokenSQL string

//go:embed sql/device_status.sql
var deviceStatusSQL string

// deviceClaims are the claims of a static token.
type deviceClaims struct {
	DeviceUUID string `json:"device_uuid"`
	jwt.RegisteredClaims
}

// Device authenticates a device by its token.
// Errors: *Refusal for an unknown token, another key or algorithm, a token of another device, or a deleted device; ErrDisabled, with the
// device; or the database's.
func (d *Devices) Device(ctx context.Context, token string) (Identity, error) {
	if !isText(token) || len(token) > maxToken {
		return Identity{}, &Refusal{Status: invalidToken}
	}
	device := Identity{Principal: Principal{Kind: Device}}
	var isEnabled bool
	var key *string
	err := d.Pool.QueryRow(ctx, deviceByTokenSQL, token).Scan(&device.ID, &device.UUID, &device.Name, &isEnabled, &key)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Identity{}, &Refusal{Status: invalidToken}
	case err != nil:
		return Identity{}, fmt.Errorf("look the device up: %w", err)
	case key == nil || *key == "": // an empty key would accept tokens of anybody
		return Identity{}, errors.New("the server setting TokenEncryptionKey is missing")
	}
	var claims deviceClaims
	if err := parse(token, &claims, []string{*key}); err != nil || claims.DeviceUUID != device.UUID {
		return Identity{}, &Refusal{Status: invalidToken}
	}
	if !isEnabled {
		return device, ErrDisabled
	}
	return device, nil
}

// SetStatus stores the status that an online device reports, as JSON text, and announces it to those who may see the device. at is the
// device's own timestamp. isOnline is false if nothing was stored. Errors: the database's.
func (d *Devices) SetStatus(ctx context.Context, id int32, status string, at float64) (isOnline bool, err error) {
	number := strconv.FormatFloat(at, 'f', -1, 64) // PostgreSQL would round a float to 15 digits
	if err := d.Pool.QueryRow(ctx, deviceStatusSQL, id, status, number).Scan(&isOnline); err != nil {
		return false, fmt.Errorf("set device status: %w", err)
	}
	return isOnline, nil
}
