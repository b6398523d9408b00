package event_test

import (
	"strings"
	"testing"

	"terasocket/proto/event"
)

func benchmarkRecords() map[string]event.Record {
	big := participantUpdate()
	big.Body = `{"participant_name": "` + strings.Repeat("x", 1<<20) + `"}`
	return map[string]event.Record{
		"database": participantUpdate(),
		"user":     userEvent(`{"@type": "type.googleapis.com/opentera.protobuf.UserEvent", "userUuid": "u1", "type": "USER_CONNECTED"}`),
		"1MB":      big,
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, r := range benchmarkRecords() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := event.Decode(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, r := range benchmarkRecords() {
		e, err := event.Decode(r)
		if err != nil {
			b.Fatal(err)
		}
		form := e.FormFor(true, true, true)
		for encodingName, encoding := range encodings {
			b.Run(name+"/"+encodingName, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := e.Encode(form, encoding); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
