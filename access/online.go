package access

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// OnlineUser is an online or busy user as OpenTera's REST API returns it: its fields, in its order.
type OnlineUser struct {
	ID           int32  `json:"id_user"`
	Has2FA       bool   `json:"user_2fa_enabled"`
	IsEnabled    bool   `json:"user_enabled"`
	FirstName    string `json:"user_firstname"`
	LastName     string `json:"user_lastname"`
	IsSuperadmin bool   `json:"user_superadmin"`
	UUID         string `json:"user_uuid"`
	Name         string `json:"user_name"` // first and last name
	IsOnline     bool   `json:"user_online"`
	IsBusy       bool   `json:"user_busy"`
}

// OnlineParticipant is the same for a participant. Its project and site may be omitted.
type OnlineParticipant struct {
	ID           int32   `json:"id_participant"`
	GroupID      *int32  `json:"id_participant_group"` // nil: in no group
	ProjectID    int32   `json:"id_project"`
	Email        *string `json:"participant_email"`
	IsEnabled    bool    `json:"participant_enabled"`
	Name         string  `json:"participant_name"`
	TokenEnabled bool    `json:"participant_token_enabled"`
	UUID         string  `json:"participant_uuid"`
	IsOnline     bool    `json:"participant_online"`
	IsBusy       bool    `json:"participant_busy"`
	ProjectName  *string `json:"project_name,omitempty"` // nil: omitted
	SiteID       *int32  `json:"id_site,omitempty"`
	SiteName     *string `json:"site_name,omitempty"`
}

// OnlineDevice is the same for a device.
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

// OnlineDeviceStatus is what OpenTera's user manager knows about a device.
type OnlineDeviceStatus struct {
	IsOnline bool          `json:"online"`
	IsBusy   bool          `json:"busy"`
	Status   *DeviceStatus `json:"status"` // nil: none reported since it came online
}

// DeviceStatus is the last status that a device has reported, with its time.
type DeviceStatus struct {
	Text string      `json:"status"` // JSON
	At   json.Number `json:"timestamp"`
}

// Online lists who is online or busy among those that a user may see, by the same rules as events. Each list is one statement and never
// nil.
type Online struct {
	Pool *pgxpool.Pool
}

//go:embed sql/online.sql
var onlineSQL string

// Users returns the users that the viewer may see, by first name. Errors: the database's.
func (o *Online) Users(ctx context.Context, viewer int32) (users []OnlineUser, err error) {
	err = o.list(ctx, viewer, User, &users)
	return users, err
}

// Participants returns the participants that the viewer may see, by name, with project and site. Errors: the database's.
func (o *Online) Participants(ctx context.Context, viewer int32) (participants []OnlineParticipant, err error) {
	err = o.list(ctx, viewer, Participant, &participants)
	return participants, err
}

// Devices returns the devices that the viewer may see, by name. Errors: the database's.
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

// Reasons for not disconnecting a target.
var (
	ErrForbidden = errors.New("not among those that the caller may disconnect") // also for unknown targets
	ErrSelf      = errors.New("the caller itself")
)

// Target identifies who is to be disconnected: by ID, or by UUID if ID is 0.
type Target struct {
	Kind Kind
	ID   int64
	UUID string
}

// Disconnector closes the sockets of others, on all gateways.
type Disconnector struct {
	Pool *pgxpool.Pool
}

//go:embed sql/disconnect.sql
var disconnectSQL string

// ForUser disconnects a target on behalf of a user, who must administer what makes the target visible, whether the target is connected or
// not. Errors: ErrForbidden, ErrSelf, or the database's.
func (d *Disconnector) ForUser(ctx context.Context, id int32, target Target) error {
	return d.disconnect(ctx, "user", id, target)
}

// ForService disconnects a target in the service's projects. Errors: ErrForbidden, or the database's.
func (d *Disconnector) ForService(ctx context.Context, id int32, target Target) error {
	return d.disconnect(ctx, "service", id, target)
}

func (d *Disconnector) disconnect(ctx context.Context, caller string, callerID int32, target Target) error {
	var id *int64
	if target.ID != 0 {
		id = &target.ID
	} else if !isText(target.UUID) {
		return ErrForbidden // PostgreSQL would reject it
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

// IsConnected reports whether the principal has an open socket on a gateway with a valid lease. A principal that is online only by its
// grace period, or through a crashed gateway, is not connected: nobody is locked out for longer than a lease. Errors: the database's.
func (o *Online) IsConnected(ctx context.Context, p Principal) (isConnected bool, err error) {
	if err := o.Pool.QueryRow(ctx, "SELECT terasocket.is_connected($1, $2)", p.Kind.String(), p.ID).Scan(&isConnected); err != nil {
		return false, fmt.Errorf("look for sockets: %w", err)
	}
	return isConnected, nil
}
