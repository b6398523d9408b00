-- The principals that OpenTera's user manager must be told about.
-- $1 bigint: the term; $2 boolean: check everybody, not only those whose sockets changed; $3 integer: limit
-- Result: kind, id, whether it connects, and the event as JSON with @type. SQLSTATE TB001: another gateway holds the bridge
-- Index: bridge_moves_pkey, bridge_told_pkey, connections_principal
SELECT u.kind, u.principal, u.comes, u.event FROM terasocket.bridge_untold($1, $2, $3) u
