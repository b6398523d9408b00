-- Records closed sockets of this gateway; may be repeated.
-- $1 text: the gateway; $2 bigint[] numbers; $3 interval: the grace, 0 for those that left on purpose
-- Index: connections_socket, online_pkey, connections_principal
SELECT terasocket.disconnected_many($1::text::uuid, $2, $3)
