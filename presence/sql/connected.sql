-- Records open sockets of this gateway; may be repeated. SQLSTATE 23503: the gateway is no longer registered.
-- $1 text: the gateway; $2 bigint[] numbers, $3 text[] kinds, $4 integer[] principals, $5 text[] client names, $6 text[] addresses
-- Index: connections_socket, online_pkey, connections_principal
SELECT terasocket.connected_many($1::text::uuid, $2, $3, $4, $5, $6)
