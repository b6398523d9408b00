package access

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// OnlineUser is a user that is online or busy, as OpenTera's REST shows it: its fields, in its order.
type OnlineUser struct {
	ID           int32  `json:"id_user"`
	Has2FA       bool   `json:"user_2fa_enabled"`
	IsEnabled    bool   `json:"user_enabled"`
	FirstName    string `json:"user_firstname"`
	LastName     string `json:"user_lastname"`
	IsSuperadmin bool   `json:"user_superadmin"`
	UUID         string `json:"user_uuid"`
	Name         string `json:"user_name"` // first and last
	IsOnline     bool   `json:"user_online"`
	IsBusy       bool   `json:"user_busy"`
}

// OnlineParticipant is the same of a participant. Its project and its site are not always shown.
type OnlineParticipant struct {
	ID           int32   `json:"id_participant"`
	GroupID      *int32  `json:"id_participant_group"` // nil: in none
	ProjectID    int32   `json:"id_project"`
	Email        *string `json:"participant_email"`
	IsEnabled    bool    `json:"participant_enabled"`
	Name         string  `json:"participant_name"`
	TokenEnabled bool    `json:"participant_token_enabled"`
	UUID         string  `json:"participant_uuid"`
	IsOnline     bool    `json:"participant_online"`
	IsBusy       bool    `json:"participant_busy"`
	ProjectName  *string `json:"project_name,omitempty"` // nil: not shown
	SiteID       *int32  `json:"id_site,omitempty"`
	SiteName     *string `json:"site_name,omitempty"`
}

// OnlineDevice is the same of a device.
type OnlineDevice struct {
	IsEnabled bool               `json:"device_enabled"`
	Name      string             `json:"device_name"`
	UUID      string             `json:"device_uuid"`
	ID        int32              `json:"id_device"`
	SubtypeID *int32             `json:"id_device_subtype"`
	TypeID    int32              `json:"id_device_type"`
	IsOnline  bool               `json:"device_online"`
	IsBusy    bool               `json:"device_busy"`
	Status    OnlineDeviceStatus `json:"device_status"`
}

// OnlineDeviceStatus is what OpenTera's user manager knows of a device.
type OnlineDeviceStatus struct {
	IsOnline bool          `json:"online"`
	IsBusy   bool          `json:"busy"`
	Status   *DeviceStatus `json:"status"` // nil: it has told none since it came online
}

// DeviceStatus is what a device has told of itself, and when.
type DeviceStatus struct {
	Text string      `json:"status"` // JSON
	At   json.Number `json:"timestamp"`
}

// Online says who is online or busy, of those that a user may see, by the rules that its events are filtered with. One
// statement each; no slice is nil.
type Online struct {
	Pool *pgxpool.Pool
}

//go:embed sql/online.sql
var onlineSQL string

// Users gives those that the user may see, by first name. Errors: the database's.
func (o *Online) Users(ctx context.Context, viewer int32) (users []OnlineUser, err error) {
	err = o.list(ctx, viewer, User, &users)
	return users, err
}

// Participants gives those that the user may see, by name, with project and site. Errors: the database's.
func (o *Online) Participants(ctx context.Context, viewer int32) (participants []OnlineParticipant, err error) {
	err = o.list(ctx, viewer, Participant, &participants)
	return participants, err
}

// Devices gives those that the user may see, by name. Errors: the database's.
func (o *Online) Devices(ctx context.Context, viewer int32) (devices []OnlineDevice, err error) {
	err = o.list(ctx, viewer, Device, &devices)
	return devices, err
}

func (o *Online) list(ctx context.Context, viewer int32, kind Kind, objects any) error {
	if err := o.Pool.QueryRow(ctx, onlineSQL, viewer, kind.String()).Scan(objects); err != nil {
		return fmt.Errorf("list online %ss: %w", kind, err)
	}
	return nil
}

// Why a target is not disconnected.
var (
	ErrForbidden = errors.New("not among those that the caller may disconnect") // unknown ones too
	ErrSelf      = errors.New("the caller itself")
)

// Target is who is to be disconnected: by ID, or where it is 0, by UUID.
type Target struct {
	Kind Kind
	ID   int64
	UUID string
}

// Disconnector closes the sockets of others, on whichever gateway they are.
type Disconnector struct {
	Pool *pgxpool.Pool
}

//go:embed sql/disconnect.sql
var disconnectSQL string

// ForUser disconnects for a user, who must administer what makes the target visible; whether anybody is connected does
// not matter. Errors: ErrForbidden, ErrSelf, or the database's.
func (d *Disconnector) ForUser(ctx context.Context, id int32, target Target) error {
	return d.disconnect(ctx, "user", id, target)
}

// ForService disconnects for a service: those of its projects. Errors: ErrForbidden, or the database's.
func (d *Disconnector) ForService(ctx context.Context, id int32, target Target) error {
	return d.disconnect(ctx, "service", id, target)
}

func (d *Disconnector) disconnect(ctx context.Context, caller string, callerID int32, target Target) error {
	var id *int64
	if target.ID != 0 {
		id = &target.ID
	} else if !isText(target.UUID) {
		return ErrForbidden // PostgreSQL would not take it
	}
	var outcome string
	err := d.Pool.QueryRow(ctx, disconnectSQL, caller, callerID, target.Kind.String(), id, target.UUID).Scan(&outcome)
	switch {
	case err != nil:
		return fmt.Errorf("disconnect: %w", err)
	case outcome == "done":
		return nil
	case outcome == "self":
		return ErrSelf
	}
	return ErrForbidden
}

// IsConnected says whether the principal has an open socket on a gateway whose lease is good. Who is online only for the
// grace, or by a gateway that has crashed, is not: nobody is locked out for longer than a lease. Errors: the database's.
func (o *Online) IsConnected(ctx context.Context, p Principal) (isConnected bool, err error) {
	if err := o.Pool.QueryRow(ctx, "SELECT terasocket.is_connected($1, $2)", p.Kind.String(), p.ID).Scan(&isConnected); err != nil {
		return false, fmt.Errorf("look for sockets: %w", err)
	}
	return isConnected, nil
}
