-- Ending a gateway that did not hand over its sockets.

-- end_gateway: takes the clients of a dead gateway offline, at most at_most; the caller holds its row. Returns how many steps it did:
-- fewer than at_most once the gateway is gone.
CREATE OR REPLACE FUNCTION terasocket.end_gateway(dead uuid, at_most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    UPDATE terasocket.gateways g SET lease_until = '-infinity' WHERE g.id = dead;   -- if it is still alive, it cannot continue
    PERFORM terasocket.disconnected(c.id, interval '0')
    FROM  (SELECT c.id FROM terasocket.connections c WHERE c.gateway = dead ORDER BY c.kind, c.principal, c.id LIMIT at_most) c;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n < at_most THEN
        DELETE FROM terasocket.gateways g WHERE g.id = dead;
        n := n + 1;
    END IF;
    RETURN n;
END $$;

-- gateway_succeed: ends the lease of the previous gateway at this gateway's address: host and listening address, which is its name
-- without the process. It is dead, since the address is ours. Returns how many steps it did; the caller repeats it until that is 0.
CREATE OR REPLACE FUNCTION terasocket.gateway_succeed(gateway uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    dead uuid;
BEGIN
    SELECT g.id INTO dead
    FROM   terasocket.gateways g, terasocket.gateways own
    WHERE  own.id = gateway_succeed.gateway AND g.id <> own.id AND g.started_at < own.started_at AND own.name ~ ' [(][0-9]+[)]$'
    AND    regexp_replace(g.name, ' [(][0-9]+[)]$', '') = regexp_replace(own.name, ' [(][0-9]+[)]$', '')
    LIMIT  1 FOR UPDATE OF g SKIP LOCKED;
    RETURN CASE WHEN dead IS NULL THEN 0 ELSE terasocket.end_gateway(dead, 500) END;
END $$;
