-- Attempts to log in, failures by address, and second steps of a login; see 0002_door.up.sql.

-- count_attempt: takes one of 5 attempts. attempts is its number, null if none was left: then seconds is how long to wait. Each attempt
-- restarts the time, a refusal does not.
CREATE OR REPLACE FUNCTION terasocket.count_attempt(kind text, who bytea, OUT attempts integer, OUT seconds double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    memory interval := CASE WHEN count_attempt.kind = 'otp' THEN interval '900 seconds' ELSE interval '120 seconds' END;
BEGIN
    LOOP
        INSERT INTO terasocket.login_attempts AS a (kind, who, attempts, expires_at)
        VALUES (count_attempt.kind, count_attempt.who, 1, clock_timestamp() + memory)
        ON CONFLICT ON CONSTRAINT login_attempts_pkey DO UPDATE
        SET    attempts = CASE WHEN a.expires_at > clock_timestamp() THEN a.attempts + 1 ELSE 1 END, expires_at = clock_timestamp() + memory
        WHERE  a.attempts < 5 OR a.expires_at <= clock_timestamp()
        RETURNING a.attempts INTO count_attempt.attempts;
        seconds := extract(epoch FROM memory);
        EXIT WHEN FOUND;
        SELECT extract(epoch FROM a.expires_at - clock_timestamp()) INTO seconds
        FROM   terasocket.login_attempts a WHERE a.kind = count_attempt.kind AND a.who = count_attempt.who;
        EXIT WHEN FOUND;
    END LOOP;
END $$;

-- forget_attempts: after a success.
CREATE OR REPLACE FUNCTION terasocket.forget_attempts(kind text, who bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM terasocket.login_attempts a WHERE a.kind = forget_attempts.kind AND a.who = forget_attempts.who;
END $$;


-- address_failed: counts a failure. No address waits longer than two minutes.
CREATE OR REPLACE FUNCTION terasocket.address_failed(address text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.address_failures AS a (address, until) VALUES (address_failed.address, clock_timestamp() + interval '1 second')
    ON CONFLICT ON CONSTRAINT address_failures_pkey DO UPDATE
    SET    until = least(greatest(a.until, clock_timestamp()) + interval '1 second', clock_timestamp() + interval '180 seconds');
END $$;

-- address_wait: seconds until this address may try again; 0: now.
CREATE OR REPLACE FUNCTION terasocket.address_wait(address text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT greatest(extract(epoch FROM a.until - clock_timestamp()) - 59, 0)
                     FROM terasocket.address_failures a WHERE a.address = address_wait.address), 0);
END $$;


CREATE OR REPLACE FUNCTION terasocket.start_login_session(hash bytea, id_user integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.login_sessions (hash, id_user) VALUES (start_login_session.hash, start_login_session.id_user);
END $$;

CREATE OR REPLACE FUNCTION terasocket.end_login_session(hash bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM terasocket.login_sessions s WHERE s.hash = end_login_session.hash;
END $$;
