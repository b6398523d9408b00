-- Tickets: what OpenTera's own login puts into a websocket URL. They are in its Redis; here is what PostgreSQL knows of whom they
-- name.

-- ticket_holder: the user, participant or device that a ticket names, which was made so long ago. No row: it may not connect,
-- or was kicked since. counter: above that of every kick before, and not above that of any since. A kick since that has not
-- committed yet closes the socket when it is announced.
CREATE OR REPLACE FUNCTION terasocket.ticket_holder(kind text, uuid text, age interval)
RETURNS TABLE (id integer, name text, counter bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.id, p.name, coalesce(k.counter, 0) + 1
    FROM   terasocket.principal(ticket_holder.kind, ticket_holder.uuid) p,
           LATERAL (SELECT max(k.counter) AS counter, max(k.at) AS at FROM terasocket.kicked k
                    WHERE  k.kind = ticket_holder.kind AND k.principal = p.id) k
    WHERE  k.at IS NULL OR k.at < clock_timestamp() - ticket_holder.age
$$;
