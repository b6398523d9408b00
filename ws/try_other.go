//go:build !unix

package ws

import "errors"

// canTry is false if a non-blocking write is not possible: every write goes through the flusher.
const canTry = false

func writeNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
