package access

import "context"

// DeviceInfo is what a device is told when it logs in.
type DeviceInfo struct {
	Device       DeviceObject        `json:"device_info"`
	Participants []DeviceParticipant `json:"participants_info"`
	SessionTypes []SessionType       `json:"session_types_info"`
	IsOnlineable bool                `json:"-"`
}

// DeviceObject is OpenTera's object of a device.
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

// DeviceParticipant is a participant that a device belongs to.
type DeviceParticipant struct {
	Name string `json:"participant_name"`
	UUID string `json:"participant_uuid"`
}

// ByUUID finds the device that a verified certificate names. Errors: *Refusal when there is none, ErrDisabled, or the database's.
func (d *Devices) ByUUID(ctx context.Context, uuid string) (Identity, error) {
	return Identity{}, errTODO
}

// Info gives what the device is told.
func (d *Devices) Info(ctx context.Context, id int32) (DeviceInfo, error) {
	return DeviceInfo{}, errTODO
}

// Stamp sets device_lastonline.
func (d *Devices) Stamp(ctx context.Context, id int32) error { return errTODO }

// Logout closes the device's sockets, on whichever gateway, and ends its connect tokens.
func (d *Devices) Logout(ctx context.Context, id Identity) error { return errTODO }
