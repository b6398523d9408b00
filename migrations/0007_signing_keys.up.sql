-- Signing keys: what the tokens of services are signed with (OpenTera's sheet services, section 3: HS256, its
-- ServiceTokenAPIKey). A key is made when it is needed for the first time and kept from then on; to replace it, delete
-- its row: every token signed with it is then refused.
CREATE TABLE terasocket.signing_keys (
    name        text        PRIMARY KEY,
    key         text        NOT NULL CHECK (length(key) = 32),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- service_token_key: the key, 32 random characters. Whoever may execute it may pass for any service: a service that
-- signs its own tokens needs USAGE on the schema and EXECUTE on this function.
CREATE FUNCTION terasocket.service_token_key() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_key text;
    -- as in create_connect_token(); 32 characters of base64 hold 192 bits
    secret    bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
BEGIN
    LOOP
        SELECT k.key INTO found_key FROM terasocket.signing_keys k WHERE k.name = 'service';
        IF FOUND THEN
            RETURN found_key;
        END IF;
        -- another session may do the same at this moment: then its key counts
        INSERT INTO terasocket.signing_keys (name, key)
        VALUES ('service', left(translate(encode(secret, 'base64'), '+/', '-_'), 32))
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- service: the key of a service that may call us: alive and enabled. No row otherwise.
CREATE FUNCTION terasocket.service(uuid text) RETURNS TABLE (id integer, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT s.id_service, s.service_key::text
    FROM OPENTERA.t_services s WHERE s.service_uuid = service.uuid AND s.service_enabled AND s.deleted_at IS NULL;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
