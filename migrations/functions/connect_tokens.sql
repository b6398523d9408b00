-- Connect tokens, which websocket URLs carry; see 0002_door.up.sql.

-- principal: id and name of a user, participant or device that may connect: neither deleted nor disabled. Otherwise no row.
CREATE OR REPLACE FUNCTION terasocket.principal(kind text, uuid text)
RETURNS TABLE (id integer, name text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE principal.kind
    WHEN 'user' THEN
        RETURN QUERY SELECT u.id_user, concat_ws(' ', u.user_firstname, u.user_lastname)
        FROM OPENTERA.t_users u WHERE u.user_uuid = principal.uuid AND u.user_enabled AND u.deleted_at IS NULL;
    WHEN 'participant' THEN
        RETURN QUERY SELECT p.id_participant, p.participant_name::text
        FROM OPENTERA.t_participants p WHERE p.participant_uuid = principal.uuid AND p.participant_enabled AND p.deleted_at IS NULL;
    WHEN 'device' THEN
        RETURN QUERY SELECT d.id_device, d.device_name::text
        FROM OPENTERA.t_devices d WHERE d.device_uuid = principal.uuid AND d.device_enabled AND d.deleted_at IS NULL;
    ELSE
        RAISE invalid_parameter_value USING MESSAGE = format('kind is %L: it must be user, participant or device', principal.kind);
    END CASE;
END $$;

-- create_connect_token: a new token, base64url of 32 random bytes.
-- Whoever may execute it may connect as anybody: grant it with care.
CREATE OR REPLACE FUNCTION terasocket.create_connect_token(kind text, uuid text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token   text  := terasocket.random_text();
BEGIN
    IF NOT EXISTS (SELECT FROM terasocket.principal(create_connect_token.kind, create_connect_token.uuid)) THEN
        RAISE no_data_found USING
            MESSAGE = format('there is no %s %L that may connect', create_connect_token.kind, create_connect_token.uuid),
            HINT = 'It must exist, be enabled and not be deleted.';
    END IF;
    INSERT INTO terasocket.connect_tokens (hash, kind, uuid)
    VALUES (sha256(convert_to(token, 'UTF8')), create_connect_token.kind, create_connect_token.uuid);
    RETURN token;
END $$;

-- redeem_connect_token: consumes a token. One row if it is valid; none if it is unknown, used, expired, of another kind, or of a
-- principal that may no longer connect.
CREATE OR REPLACE FUNCTION terasocket.redeem_connect_token(kind text, token text)
RETURNS TABLE (id integer, uuid text, name text, counter bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH redeemed AS (
        DELETE FROM terasocket.connect_tokens t
        WHERE  t.hash = sha256(convert_to(redeem_connect_token.token, 'UTF8'))
          AND  t.kind = redeem_connect_token.kind AND t.expires_at > clock_timestamp()
        RETURNING t.kind, t.uuid, t.counter)
    SELECT p.id, r.uuid, p.name, r.counter FROM redeemed r, LATERAL terasocket.principal(r.kind, r.uuid) p
$$;

-- redeem_connect_tokens: the same for several. place is the position in the arrays, from 1. A token held by another transaction (it is
-- being redeemed, or its principal kicked) is skipped with is_held, so that nobody else waits for it.
CREATE OR REPLACE FUNCTION terasocket.redeem_connect_tokens(kinds text[], hashes bytea[])
RETURNS TABLE (place bigint, is_held boolean, id integer, uuid text, name text, counter bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$   -- PL/pgSQL caches its plan
BEGIN
    RETURN QUERY
    WITH shown AS MATERIALIZED (
        SELECT s.place, s.kind, s.hash FROM unnest(kinds, hashes) WITH ORDINALITY s (kind, hash, place)
    ), free AS MATERIALIZED (
        SELECT t.hash FROM terasocket.connect_tokens t
        WHERE  t.hash = ANY (hashes) AND t.expires_at > clock_timestamp() AND EXISTS (SELECT FROM shown s WHERE s.hash = t.hash AND s.kind = t.kind)
        FOR    UPDATE SKIP LOCKED
    ), redeemed AS (   -- if two present the same token, one gets it
        DELETE FROM terasocket.connect_tokens t USING shown s, free f
        WHERE  t.hash = ANY (hashes) AND t.hash = f.hash AND s.hash = f.hash AND s.kind = t.kind
        RETURNING s.place, t.kind, t.uuid, t.counter)
    SELECT r.place, false, p.id, r.uuid, p.name, r.counter FROM redeemed r, LATERAL terasocket.principal(r.kind, r.uuid) p
    UNION ALL
    SELECT s.place, true, NULL, NULL, NULL, NULL
    FROM   shown s JOIN terasocket.connect_tokens t ON t.hash = s.hash AND t.kind = s.kind AND t.expires_at > clock_timestamp()
    WHERE  s.hash NOT IN (SELECT f.hash FROM free f);
END $$;

-- replace_sockets: a principal that reconnects replaces the sockets that a lost network left open: a kick, on every gateway, of the
-- sockets opened with earlier tokens. Unlike after other kicks, the principal stays online.
CREATE OR REPLACE FUNCTION terasocket.replace_sockets(kind text, id integer, token bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    INSERT INTO terasocket.kicked (kind, principal, counter, is_replaced)
    VALUES (replace_sockets.kind, replace_sockets.id, replace_sockets.token - 1, true);
    PERFORM terasocket.record('kick', 'M', false, NULL, jsonb_build_object('kind', kind, 'id', id, 'token', token - 1));
END $$;
