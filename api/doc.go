// Package api is the REST API of the gateway: login, and the endpoints for operators' tools.
//
// Answers match OpenTera's, down to their texts (OpenTera's Login and authentication), so that a client written against
// OpenTera notices no difference.
package api
