package access

import "errors"

// ErrRefused is the one answer to a connect token that is bad, used, expired, of another kind,
// or whose principal is gone or disabled: the caller cannot tell which.
var ErrRefused = errors.New("connect token refused")
