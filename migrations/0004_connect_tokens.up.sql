-- Connect tokens: what a websocket URL carries. Shown once, stored as a SHA-256, bound to a principal, valid for 60 s
-- and for one handshake. Unlogged: a crash of the server costs a login, and no copy of them is in the WAL.
CREATE UNLOGGED TABLE terasocket.connect_tokens (
    hash        bytea       PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    uuid        text        NOT NULL,
    expires_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '60 seconds'
);
CREATE INDEX connect_tokens_expiry ON terasocket.connect_tokens (expires_at);

-- principal: key and name of a user, participant or device that may connect: alive and enabled. No row otherwise.
CREATE FUNCTION terasocket.principal(kind text, uuid text)
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
CREATE FUNCTION terasocket.create_connect_token(kind text, uuid text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- PostgreSQL's strong random source is in reach only through UUIDs of 122 random bits: three make up 256
    secret  bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
    token   text  := rtrim(translate(encode(secret, 'base64'), '+/', '-_'), '=');
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

-- redeem_connect_token: consumes a token. One row when it is good, none otherwise: unknown, used, expired, of another
-- kind, or of a principal that may not connect any more.
CREATE FUNCTION terasocket.redeem_connect_token(kind text, token text)
RETURNS TABLE (id integer, uuid text, name text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH redeemed AS (
        DELETE FROM terasocket.connect_tokens t
        WHERE  t.hash = sha256(convert_to(redeem_connect_token.token, 'UTF8'))
          AND  t.kind = redeem_connect_token.kind AND t.expires_at > clock_timestamp()
        RETURNING t.kind, t.uuid)
    SELECT p.id, r.uuid, p.name FROM redeemed r, LATERAL terasocket.principal(r.kind, r.uuid) p
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
