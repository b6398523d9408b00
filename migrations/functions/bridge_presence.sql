-- The bridge, presence: what OpenTera's user manager is told about principals with a socket here, and what it knows about those with one
-- on OpenTera's own server. A socket here is a row of terasocket.connections; grace does not count.

-- opentera_gateway: OpenTera's own server, as a gateway. The bridge keeps its lease; its connections are the principals reported to have
-- a socket there, one each.
CREATE OR REPLACE FUNCTION terasocket.opentera_gateway() RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$ SELECT '00000000-0000-0000-0000-000000000000'::uuid $$;

-- bridge_moved: notes that a principal's sockets changed, while a gateway holds the bridge and for a minute after: a new holder looks at
-- everybody, but would miss what commits later.
CREATE OR REPLACE FUNCTION terasocket.bridge_moved(kind text, principal integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.bridge_moves (kind, principal)
    SELECT bridge_moved.kind, bridge_moved.principal
    WHERE  EXISTS (SELECT FROM terasocket.bridge b WHERE b.lease_until > clock_timestamp() - interval '1 minute');
END $$;

-- bridge_moved: the same for several.
CREATE OR REPLACE FUNCTION terasocket.bridge_moved(kinds text[], principals integer[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.bridge_moves (kind, principal)
    SELECT DISTINCT w.kind, w.principal FROM unnest(kinds, principals) w (kind, principal)
    WHERE  EXISTS (SELECT FROM terasocket.bridge b WHERE b.lease_until > clock_timestamp() - interval '1 minute');
END $$;

-- bridge_elsewhere: a principal has come to OpenTera's own server, or left it. It is announced if that makes a difference. One that
-- leaves and has a socket here is marked offline there, which must be corrected.
CREATE OR REPLACE FUNCTION terasocket.bridge_elsewhere(kind text, principal integer, comes boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    number bigint := array_position('{user,participant,device}', kind) * 4294967296 + principal;
BEGIN
    IF comes THEN
        INSERT INTO terasocket.gateways AS g (id, name, lease_until)
        VALUES (terasocket.opentera_gateway(), 'OpenTera''s own server', clock_timestamp() + interval '30 seconds')
        ON     CONFLICT ON CONSTRAINT gateways_pkey DO UPDATE SET lease_until = excluded.lease_until WHERE g.lease_until < clock_timestamp();
        PERFORM terasocket.connected(terasocket.opentera_gateway(), kind, principal, 'OpenTera', '', number);
    ELSE
        PERFORM terasocket.disconnected(c.id, interval '0') FROM terasocket.connections c
        WHERE   c.gateway = terasocket.opentera_gateway() AND c.socket = number;
        UPDATE  terasocket.bridge_told t SET gone = true WHERE t.kind = bridge_elsewhere.kind AND t.principal = bridge_elsewhere.principal;
        PERFORM terasocket.bridge_moved(kind, principal);
    END IF;
END $$;

-- bridge_away: the user manager does not listen. Everybody is checked once it does, so moves need not be kept. If OpenTera's own server
-- has stopped, nobody has a socket there.
CREATE OR REPLACE FUNCTION terasocket.bridge_away(term bigint, has_stopped boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM terasocket.bridge_hold(term);
    PERFORM terasocket.disconnected(c.id, interval '0')
    FROM  (SELECT c.id FROM terasocket.connections c WHERE has_stopped AND c.gateway = terasocket.opentera_gateway() ORDER BY c.kind, c.principal) c;
    DELETE FROM terasocket.bridge_moves;
END $$;

-- bridge_untold: whom to report to the user manager: the event, and whether the principal comes or goes. It considers principals whose
-- sockets changed, or everybody. Deleted ones are never reported, nor those who leave here and stay there. Whoever comes counts as
-- reported from now on: a bridge that dies before it has done so leaves one whom the user manager lacks, which the next bridge finds; the
-- other way round it would leave one whom nobody knows to be ours. Whoever goes counts as reported once bridge_record says so, and as
-- ours until a comparison shows that the user manager has heard it.
CREATE OR REPLACE FUNCTION terasocket.bridge_untold(term bigint, everybody boolean, at_most integer)
RETURNS TABLE (kind text, principal integer, comes boolean, event text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    kinds      text[];
    principals integer[];
BEGIN
    PERFORM terasocket.bridge_hold(term);
    WITH moved AS (
        DELETE FROM terasocket.bridge_moves m
        WHERE  everybody OR m.id = ANY (ARRAY(SELECT o.id FROM terasocket.bridge_moves o ORDER BY o.id LIMIT at_most)) RETURNING m.id, m.kind, m.principal)
    SELECT array_agg(m.kind ORDER BY m.first), array_agg(m.principal ORDER BY m.first) INTO kinds, principals
    FROM  (SELECT d.kind, d.principal, min(d.id) AS first FROM moved d GROUP BY 1, 2) m;
    IF everybody THEN
        SELECT array_agg(e.kind), array_agg(e.principal) INTO kinds, principals
        FROM  (SELECT d.kind, d.principal
               FROM ((SELECT c.kind, c.principal FROM terasocket.connections c WHERE c.gateway <> terasocket.opentera_gateway()
                      EXCEPT SELECT t.kind, t.principal FROM terasocket.bridge_told t WHERE NOT t.gone)
                     UNION ALL
                     (SELECT t.kind, t.principal FROM terasocket.bridge_told t WHERE NOT t.gone
                      EXCEPT SELECT c.kind, c.principal FROM terasocket.connections c)) d
               WHERE  terasocket.is_alive(d.kind, d.principal) LIMIT at_most) e;
    END IF;
    IF kinds IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH differing AS (
        SELECT w.*
        FROM  (SELECT u.*, terasocket.is_here(u.kind, u.principal) AS is_here,
                      EXISTS (SELECT FROM terasocket.bridge_told t WHERE t.kind = u.kind AND t.principal = u.principal AND NOT t.gone) AS is_told
               FROM   unnest(kinds, principals) WITH ORDINALITY u (kind, principal, n)) w
        WHERE  w.is_here <> w.is_told AND terasocket.is_alive(w.kind, w.principal)
        AND   (w.is_here OR NOT EXISTS (SELECT FROM terasocket.connections c WHERE c.kind = w.kind AND c.principal = w.principal))
    ), told AS (
        INSERT INTO terasocket.bridge_told AS t (kind, principal) SELECT d.kind, d.principal FROM differing d WHERE d.is_here
        ON CONFLICT ON CONSTRAINT bridge_told_pkey DO UPDATE SET gone = false
    )
    SELECT d.kind, d.principal, d.is_here, (m.message || jsonb_build_object('@type', 'type.googleapis.com/' || m.name))::text
    FROM   differing d, LATERAL terasocket.presence_message(d.kind, d.principal, CASE WHEN d.is_here THEN 'CONNECTED' ELSE 'DISCONNECTED' END) m
    ORDER  BY d.n;
END $$;

-- is_here: whether the principal has a socket on one of our gateways.
CREATE OR REPLACE FUNCTION terasocket.is_here(kind text, principal integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM terasocket.connections c
                   WHERE  c.kind = is_here.kind AND c.principal = is_here.principal AND c.gateway <> terasocket.opentera_gateway());
END $$;

-- is_alive: whether the principal exists and is not deleted.
CREATE OR REPLACE FUNCTION terasocket.is_alive(kind text, principal integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE is_alive.kind
    WHEN 'user' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_users u WHERE u.id_user = is_alive.principal AND u.deleted_at IS NULL);
    WHEN 'participant' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_participants p WHERE p.id_participant = is_alive.principal AND p.deleted_at IS NULL);
    WHEN 'device' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_devices d WHERE d.id_device = is_alive.principal AND d.deleted_at IS NULL);
    END CASE;
END $$;

-- bridge_record: records that the user manager was told that these went.
CREATE OR REPLACE FUNCTION terasocket.bridge_record(term bigint, kinds text[], principals integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM terasocket.bridge_hold(term);
    UPDATE terasocket.bridge_told t SET gone = true FROM unnest(kinds, principals) w (kind, principal)
    WHERE  t.kind = w.kind AND t.principal = w.principal;
END $$;
