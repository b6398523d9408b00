package ws

import (
	"encoding/json"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// cutOff kicks the user, participant or device that an event says is deleted or disabled, or that a command names. It
// comes after the delivery, so that a client that may see itself learns why.
func (d *Dispatcher) cutOff(e *event.Event) {
	if command, ok := e.Message.(*opentera.ServerCommand); ok {
		kind, err := access.ParseKind(e.ObjectType)
		if err != nil || command.GetType() != opentera.ServerCommand_CMD_CLIENT_DISCONNECT {
			d.Log.Error("command not understood", "event", e.Seq, "op", command.GetType().String(), "err", err)
			return
		}
		p := access.Principal{Kind: kind, ID: int32(e.ObjectID)}
		d.Log.Info("kicked: commanded", "principal", p.String(), "event", e.Seq, "sockets", d.Hub.Kick(p, e.XID))
		return
	}
	change, ok := e.Message.(*opentera.DatabaseEvent)
	if !ok || e.NotTo != "" {
		return
	}
	kind, err := access.ParseKind(change.GetObjectType())
	if err != nil {
		return
	}
	p, gone, err := goneFrom(kind, change)
	switch {
	case err != nil:
		d.Log.Error("cannot tell who was deleted or disabled", "event", e.Seq, "op", change.GetType().String(), "err", err)
	case gone:
		if n := d.Hub.Kick(p, e.XID); n > 0 {
			d.Log.Info("kicked: deleted or disabled", "principal", p.String(), "event", e.Seq, "sockets", n)
		}
	}
}

// goneFrom reads the object of a change: whose it is, and whether it may no longer be connected.
func goneFrom(kind access.Kind, change *opentera.DatabaseEvent) (access.Principal, bool, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(change.GetObjectValue()), &object); err != nil {
		return access.Principal{}, false, err
	}
	given := func(key string) bool {
		value, ok := object[key]
		return ok && string(value) != "null"
	}
	gone := change.GetType() == opentera.DatabaseEvent_DB_DELETE || given("deleted_at") ||
		string(object[kind.String()+"_enabled"]) == "false"
	if !gone {
		return access.Principal{}, false, nil
	}
	p := access.Principal{Kind: kind}
	if err := json.Unmarshal(object["id_"+kind.String()], &p.ID); err != nil {
		return access.Principal{}, false, err
	}
	return p, true, nil
}
