-- OpenTera's own websocket server has stopped.
-- $1 bigint: the term
-- Index: connections_socket
SELECT terasocket.bridge_nobody_elsewhere($1)
