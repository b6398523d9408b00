// Package api is the REST side of the gateway: login, and what an operator's tools ask.
//
// The answers are OpenTera's, down to their texts (OpenTera's Login and authentication), so that a client written against
// OpenTera notices no difference.
package api
