-- OpenTera's user manager does not listen.
-- $1 bigint: the term; $2 boolean: OpenTera's own websocket server has stopped
-- Index: connections_socket
SELECT terasocket.bridge_away($1, $2)
