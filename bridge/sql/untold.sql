-- Whom OpenTera's user manager is to be told of.
-- $1 bigint: the term; $2 boolean: look at everybody, not at whose sockets moved; $3 integer: how many at most
-- Result: kind, id, whether it comes, and the event as JSON with @type. SQLSTATE TB001: the bridge is another's
-- Index: bridge_moves_pkey, bridge_told_pkey, connections_principal
SELECT u.kind, u.principal, u.comes, u.event FROM terasocket.bridge_untold($1, $2, $3) u
