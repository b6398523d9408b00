// Package terasocket holds the messages that are ours rather than OpenTera's (proto package terasocket.v1). A client
// hears them only if it asked for something that OpenTera does not have.
package terasocket

//go:generate go run ../generate -dir ..
