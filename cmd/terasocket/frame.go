package main

import (
	"fmt"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// describe formats an event in one line: time, seq, operation, and object.
func describe(r event.Received) string {
	at := r.Time.Local().Format("15:04:05.000 MST")
	if e, ok := r.Message.(*opentera.DatabaseEvent); ok {
		return fmt.Sprintf("%s  #%d  %-9s  %-20s  %s", at, r.Seq, e.GetType(), e.GetObjectType(), e.GetObjectValue())
	}
	return fmt.Sprintf("%s  #%d  %s  %s", at, r.Seq, r.Message.ProtoReflect().Descriptor().Name(), r.Event)
}
