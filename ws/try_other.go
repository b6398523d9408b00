//go:build !unix

package ws

import "errors"

// canTry is false where a socket cannot be written to without waiting: every write goes through the flusher.
const canTry = false

func writeNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
