package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DeviceInfo is what a device is told at login.
type DeviceInfo struct {
	Device       DeviceObject        `json:"device_info"`
	Participants []DeviceParticipant `json:"participants_info"`
	SessionTypes []SessionType       `json:"session_types_info"`
	IsOnlineable bool                `json:"-"`
}

// DeviceObject is OpenTera's device object.
type DeviceObject struct {
	Config       *string `json:"device_config"`
	IsEnabled    bool    `json:"device_enabled"`
	Infos        *string `json:"device_infos"`
	LastOnline   *string `json:"device_lastonline"`
	Name         string  `json:"device_name"`
	Notes        *string `json:"device_notes"`
	IsOnlineable bool    `json:"device_onlineable"`
	Token        *string `json:"device_token"`
	UUID         string  `json:"device_uuid"`
	ID           int32   `json:"id_device"`
	SubtypeID    *int32  `json:"id_device_subtype"`
	TypeID       int32   `json:"id_device_type"`
	Type         string  `json:"device_type"`
	Subtype      *string `json:"device_subtype,omitempty"`
}

// DeviceParticipant is a participant linked to a device.
type DeviceParticipant struct {
	Name string `json:"participant_name"`
	UUID string `json:"participant_uuid"`
}

// ByUUID finds the device named by a verified certificate.
// Errors: *Refusal if there is none; ErrDisabled, with the device; or the database's.
func (d *Devices) ByUUID(ctx context.Context, uuid string) (Identity, error) {
	if !isText(uuid) || len(uuid) > 36 {
		return Identity{}, &Refusal{Status: invalidToken}
	}
	device := Identity{Principal: Principal{Kind: Device}}
	var isEnabled bool
	err := d.Pool.QueryRow(ctx, "SELECT id, uuid, name, is_enabled FROM terasocket.device_by_uuid($1)", uuid).
		Scan(&device.ID, &device.UUID, &device.Name, &isEnabled)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Identity{}, &Refusal{Status: invalidToken}
	case err != nil:
		return Identity{}, fmt.Errorf("look the device up: %w", err)
	case !isEnabled:
		return device, ErrDisabled
	}
	return device, nil
}

// Info returns what the device is told at login. Errors: *Refusal if it is deleted or disabled, or the database's.
func (d *Devices) Info(ctx context.Context, id int32) (DeviceInfo, error) {
	var info *DeviceInfo
	if err := d.Pool.QueryRow(ctx, "SELECT terasocket.device_login($1)", id).Scan(&info); err != nil {
		return DeviceInfo{}, fmt.Errorf("look the device up: %w", err)
	}
	if info == nil {
		return DeviceInfo{}, &Refusal{Status: disabledAccount}
	}
	info.IsOnlineable = info.Device.IsOnlineable
	return *info, nil
}

// Stamp sets device_lastonline. Errors: the database's.
func (d *Devices) Stamp(ctx context.Context, id int32) error {
	return stamp(ctx, d.Pool, Principal{Device, id})
}

// Logout closes the device's sockets on all gateways, and ends its connect tokens. Its static token remains valid.
// Errors: the database's.
func (d *Devices) Logout(ctx context.Context, id Identity) error {
	return (&Keys{Pool: d.Pool}).logout(ctx, id, "")
}
