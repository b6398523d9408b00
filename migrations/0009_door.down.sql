-- A key that no longer signs is forgotten: what it signed is refused.
DROP FUNCTION terasocket.sweep_door();
DROP FUNCTION terasocket.server_setting(text);
DROP FUNCTION terasocket.record_login(text, jsonb);
DROP FUNCTION terasocket.is_connected(text, integer);
DROP FUNCTION terasocket.logout(text, integer, text, bytea, timestamptz);
DROP FUNCTION terasocket.stamp_last_online(text, integer);
DROP FUNCTION terasocket.device_login(integer);
DROP FUNCTION terasocket.device_by_uuid(text);
DROP FUNCTION terasocket.participant_session_types(integer);
DROP FUNCTION terasocket.project_session_types(integer[]);
DROP FUNCTION terasocket.participant_account(text, text, integer, text);
DROP FUNCTION terasocket.change_password(integer, text, text);
DROP FUNCTION terasocket.set_otp(integer, text, boolean);
DROP FUNCTION terasocket.otp_blocked(bytea);
DROP FUNCTION terasocket.accept_otp(integer, bigint, bytea);
DROP FUNCTION terasocket.otp_secret(integer);
DROP FUNCTION terasocket.user_token_claims(integer);
DROP FUNCTION terasocket.login_session_user(bytea);
DROP FUNCTION terasocket.user_account(text, text, integer);
DROP FUNCTION terasocket.end_login_session(bytea);
DROP FUNCTION terasocket.start_login_session(bytea, integer);
DROP FUNCTION terasocket.address_wait(text);
DROP FUNCTION terasocket.address_failed(text);
DROP FUNCTION terasocket.forget_attempts(text, bytea);
DROP FUNCTION terasocket.count_attempt(text, bytea);
DROP FUNCTION terasocket.token_check(text, bytea);
DROP FUNCTION terasocket.disable_token(bytea, timestamptz);
DROP FUNCTION terasocket.rotate_signing_key(text, interval);
DROP FUNCTION terasocket.verifying_keys(text);
DROP FUNCTION terasocket.signing_key(text);
DROP FUNCTION terasocket.random_text();
DROP INDEX terasocket.connect_tokens_principal;
DROP TABLE terasocket.otp_steps;
DROP TABLE terasocket.login_sessions;
DROP TABLE terasocket.address_failures;
DROP TABLE terasocket.login_attempts;
DROP TABLE terasocket.disabled_tokens;
DELETE FROM terasocket.signing_keys WHERE name <> 'service' OR retires_at IS NOT NULL;
DROP INDEX terasocket.signing_keys_signs;
ALTER TABLE terasocket.signing_keys
    DROP CONSTRAINT signing_keys_name,
    DROP COLUMN retires_at,
    DROP COLUMN id,
    ADD PRIMARY KEY (name);
CREATE OR REPLACE FUNCTION terasocket.service_token_key() RETURNS text
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
