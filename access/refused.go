package access

import "errors"

// ErrRefused is the same answer to a connect token that is invalid, used, expired or of another kind, or whose principal is deleted or
// disabled: the caller cannot tell which.
var ErrRefused = errors.New("connect token refused")
