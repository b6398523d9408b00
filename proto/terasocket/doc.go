// Package terasocket holds terasocket's own messages (proto package terasocket.v1). A client receives them only if it asked for something
// that OpenTera does not have.
package terasocket

//go:generate go run ../generate -dir ..
