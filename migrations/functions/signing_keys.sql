-- Signing keys and disabled tokens (OpenTera's sheets login and services, section 3: HS256); see 0002_door.up.sql.

-- random_text: base64url of 32 random bytes. PostgreSQL exposes its strong random source only through UUIDs of 122 random bits: three
-- make up 256.
CREATE OR REPLACE FUNCTION terasocket.random_text() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT rtrim(translate(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
                                  'base64'), '+/', '-_'), '=')
$$;

-- signing_key: the signing key, 32 random characters; created on first use. Whoever may execute it can impersonate anybody of that name.
CREATE OR REPLACE FUNCTION terasocket.signing_key(name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_key text;
BEGIN
    LOOP
        SELECT k.key INTO found_key FROM terasocket.signing_keys k WHERE k.name = signing_key.name AND k.retires_at IS NULL;
        IF FOUND THEN
            RETURN found_key;
        END IF;
        -- another session may do the same concurrently: then its key counts
        INSERT INTO terasocket.signing_keys (name, key) VALUES (signing_key.name, left(terasocket.random_text(), 32))
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- service_token_key: the signing key of services, as before. A service must call it each time it signs: after a rotation the old key is
-- valid only for the overlap.
CREATE OR REPLACE FUNCTION terasocket.service_token_key() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN terasocket.signing_key('service');
END $$;

-- verifying_keys: the keys that verify, the signing one first. It creates none.
CREATE OR REPLACE FUNCTION terasocket.verifying_keys(name text) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT k.key FROM terasocket.signing_keys k
                 WHERE k.name = verifying_keys.name AND (k.retires_at IS NULL OR k.retires_at > clock_timestamp()) ORDER BY k.id DESC);
END $$;

-- rotate_signing_key: creates a new key, which signs from now on. Older keys verify for at most overlap.
CREATE OR REPLACE FUNCTION terasocket.rotate_signing_key(name text, overlap interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF overlap IS NULL OR overlap < interval '0' OR overlap > interval '90 days' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'overlap must be between 0 and 90 days';
    END IF;
    LOCK TABLE terasocket.signing_keys IN SHARE ROW EXCLUSIVE MODE;
    UPDATE terasocket.signing_keys k SET retires_at = least(k.retires_at, clock_timestamp() + overlap)
    WHERE  k.name = rotate_signing_key.name;
    INSERT INTO terasocket.signing_keys (name, key) VALUES (rotate_signing_key.name, left(terasocket.random_text(), 32));
END $$;


-- disable_token: false if it was disabled before.
CREATE OR REPLACE FUNCTION terasocket.disable_token(hash bytea, expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.disabled_tokens AS d (hash, expires_at) VALUES (disable_token.hash, disable_token.expires_at)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

-- token_check: whether a token is disabled, and the keys that verify tokens of its name. Fails in a restored or copied database until a
-- gateway has begun an epoch there: both may be outdated.
CREATE OR REPLACE FUNCTION terasocket.token_check(name text, hash bytea) RETURNS TABLE (is_disabled boolean, keys text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT terasocket.is_current() THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'no token can be checked: this server was started again, or this database has come back from somewhere, and no gateway has begun an epoch yet';
    END IF;
    RETURN QUERY SELECT EXISTS (SELECT FROM terasocket.disabled_tokens d WHERE d.hash = token_check.hash), terasocket.verifying_keys(token_check.name);
END $$;


-- service: id and key of a service that may call us: neither deleted nor disabled. Otherwise no row.
CREATE OR REPLACE FUNCTION terasocket.service(uuid text) RETURNS TABLE (id integer, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT s.id_service, s.service_key::text
    FROM OPENTERA.t_services s WHERE s.service_uuid = service.uuid AND s.service_enabled AND s.deleted_at IS NULL;
END $$;
