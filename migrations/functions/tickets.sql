-- Tickets, which OpenTera's own login puts into websocket URLs. They are in its Redis; this is what PostgreSQL knows about their
-- principals.

-- ticket_holder: the user, participant or device that a ticket names; no row: it may not connect. kicked: time since its last kick, null
-- if not recently. counter: above those of all past kicks, and not above any future one: an uncommitted kick closes the socket when it is
-- announced.
CREATE OR REPLACE FUNCTION terasocket.ticket_holder(kind text, uuid text)
RETURNS TABLE (id integer, name text, counter bigint, kicked interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.id, p.name, coalesce(k.counter, 0) + 1, clock_timestamp() - k.at
    FROM   terasocket.principal(ticket_holder.kind, ticket_holder.uuid) p,
           LATERAL (SELECT max(k.counter) AS counter, max(k.at) AS at FROM terasocket.kicked k
                    WHERE  k.kind = ticket_holder.kind AND k.principal = p.id) k
$$;
