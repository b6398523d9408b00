package ws

import (
	"slices"
	"strconv"

	"github.com/gorilla/websocket"
)

// CloseCode is the status of a close frame that the server sends. Codes and reasons are API: clients branch on the code.
//
//	code  reason                 sent when                                                the client
//	4000  CMD_CLIENT_DISCONNECT  kicked: logged out, disabled or deleted                  must not return by itself
//	1008  too many frames        the client sent too many                                 must be fixed first
//	1009                         a frame over the limit                                   must be fixed first
//	1002  (what was wrong)       a protocol error                                         must be fixed first
//	1011  internal error         an event could not be encoded, events are missing, or
//	                             the log or its rights could not be read                  returns and resumes
//	1012  service restart        the gateway stops, spread over the drain time; or it was
//	                             disabled and enabled again                               returns and resumes
//	1013  too slow, resume       the socket's backlog exceeds its limit                   returns and resumes
//
// A client that sends no pong in time is cut without a close frame and sees 1006. To return is to log in again (a connect token
// is good once); to resume is to pass the last seq as since.
type CloseCode int

// The close codes.
const (
	CloseKicked        CloseCode = 4000
	CloseProtocolError CloseCode = websocket.CloseProtocolError
	CloseAbnormal      CloseCode = websocket.CloseAbnormalClosure // never sent: the socket broke, or no pong came
	ClosePolicy        CloseCode = websocket.ClosePolicyViolation
	CloseTooBig        CloseCode = websocket.CloseMessageTooBig
	CloseInternal      CloseCode = websocket.CloseInternalServerErr
	CloseRestart       CloseCode = websocket.CloseServiceRestart
	CloseSlow          CloseCode = websocket.CloseTryAgainLater
)

// Reason is the text of the close frame.
func (c CloseCode) Reason() string {
	switch c {
	case CloseKicked:
		return "CMD_CLIENT_DISCONNECT"
	case ClosePolicy:
		return "too many frames"
	case CloseInternal:
		return "internal error"
	case CloseRestart:
		return "service restart"
	case CloseSlow:
		return "too slow, resume"
	}
	return ""
}

// ComeBack reports whether a client may reconnect at once after this code.
func (c CloseCode) ComeBack() bool {
	switch c {
	case CloseInternal, CloseRestart, CloseSlow, CloseAbnormal:
		return true
	}
	return false
}

// closeCodes have their own label in metrics; all other codes that clients may send share one.
var closeCodes = [...]CloseCode{websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived,
	CloseKicked, CloseProtocolError, CloseAbnormal, ClosePolicy, CloseTooBig, CloseInternal, CloseRestart, CloseSlow}

// label is the value of the metric label "code".
func (c CloseCode) label() string {
	if slices.Contains(closeCodes[:], c) {
		return strconv.Itoa(int(c))
	}
	return "other"
}
