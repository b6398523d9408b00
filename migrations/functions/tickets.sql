-- Tickets: what OpenTera's own login puts into a websocket URL. They are in its Redis; here is what PostgreSQL knows of whom they
-- name.

-- ticket_holder: the user, participant or device that a ticket names; no row: it may not connect. kicked: how long ago it was
-- kicked last, null if it was not of late. counter: above that of every kick so far, and not above that of any to come: one that has
-- not committed yet closes the socket when it is announced.
CREATE OR REPLACE FUNCTION terasocket.ticket_holder(kind text, uuid text)
RETURNS TABLE (id integer, name text, counter bigint, kicked interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.id, p.name, coalesce(k.counter, 0) + 1, clock_timestamp() - k.at
    FROM   terasocket.principal(ticket_holder.kind, ticket_holder.uuid) p,
           LATERAL (SELECT max(k.counter) AS counter, max(k.at) AS at FROM terasocket.kicked k
                    WHERE  k.kind = ticket_holder.kind AND k.principal = p.id) k
$$;
