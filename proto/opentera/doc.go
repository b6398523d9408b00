// Package opentera is OpenTera's message dictionary (proto package
// opentera.protobuf), one .proto file per top-level message with its generated
// Go beside it.
//
// Names and numbers are OpenTera's. The one addition is the field seq of
// TeraEvent.Header, terasocket's resume cursor.
//
// After a change of a .proto file run `go generate ./proto/opentera` and commit
// both; `go run ./proto/generate -check` proves that they agree.
package opentera

//go:generate go run ../generate -dir ..
