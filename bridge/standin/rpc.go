package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

// answer answers an RPC as JSON, as the user manager does; an unknown method gets no answer.
func (m *UserManager) answer(ctx context.Context, payload []byte) error {
	var call opentera.RPCMessage
	if err := proto.Unmarshal(payload, &call); err != nil {
		return &fault{err}
	}
	value, ok, err := m.call(ctx, &call)
	if !ok || err != nil {
		return err
	}
	reply, err := json.Marshal(map[string]any{"method": call.GetMethod(), "id": call.GetId(), "pattern": rpcTopic, "status": "OK", "return_value": value})
	if err != nil {
		return fmt.Errorf("answer %s: %w", call.GetMethod(), err)
	}
	if call.GetReplyTo() == "" {
		return nil
	}
	return m.client.Publish(ctx, call.GetReplyTo(), reply).Err()
}

// call executes the method. Status shows a change once its event is published.
func (m *UserManager) call(ctx context.Context, call *opentera.RPCMessage) (value any, ok bool, err error) {
	what, kind, _ := strings.Cut(call.GetMethod(), "_")
	kind = strings.TrimSuffix(kind, "s")
	m.mu.Lock()
	defer m.mu.Unlock()
	if call.GetMethod() == "update_device_status" {
		value, err = m.updateStatus(ctx, call.GetArgs())
		return value, true, err
	}
	r := m.state[kind]
	if r == nil {
		return nil, false, nil
	}
	switch what {
	case "online":
		return append([]string{}, r.online...), true, nil
	case "busy":
		busy := make(map[string]string)
		for uuid, session := range r.busy {
			busy[uuid] = session
		}
		return busy, true, nil
	case "status":
		return r.states(kind == "device"), true, nil
	}
	return nil, false, nil
}

// states returns everybody who is online or busy.
func (r *registry) states(withStatus bool) map[string]map[string]any {
	states := make(map[string]map[string]any)
	of := func(uuid string) map[string]any {
		if states[uuid] == nil {
			states[uuid] = map[string]any{"online": false, "busy": false}
			if withStatus {
				states[uuid]["status"] = nil
			}
		}
		return states[uuid]
	}
	for _, uuid := range r.online {
		of(uuid)["online"] = true
	}
	for uuid := range r.busy {
		of(uuid)["busy"] = true
	}
	for uuid, s := range r.status {
		of(uuid)["status"] = s
	}
	return states
}

// updateStatus stores the status of an online device and publishes its event. It returns null for one that is offline. The caller holds m.mu.
func (m *UserManager) updateStatus(ctx context.Context, args []*opentera.Value) (any, error) {
	if len(args) != 3 {
		return nil, nil
	}
	uuid, s := args[0].GetStringValue(), status{args[1].GetStringValue(), args[2].GetDoubleValue()}
	devices := m.state["device"]
	if !slices.Contains(devices.online, uuid) {
		return nil, nil
	}
	devices.status[uuid] = s
	person, _, err := m.people(ctx, "device", uuid)
	if err != nil {
		return nil, nil
	}
	text, _ := json.Marshal(s) // a string and a number
	return map[string]any{"uuid": uuid, "status": s.Status, "timestamp": s.Timestamp}, m.say(ctx,
		&opentera.DeviceEvent{DeviceUuid: uuid, DeviceName: person.Name, Type: opentera.DeviceEvent_DEVICE_STATUS_CHANGED, DeviceStatus: string(text)})
}
