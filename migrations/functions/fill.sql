-- Fill: computes told, holdings and aliases from scratch: at the first migration, when the formulas of keys or rights have changed, and
-- when more was missed than changes can hold.

CREATE OR REPLACE FUNCTION terasocket.is_filled() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    RETURN (SELECT a.fill_type IS NULL FROM terasocket.announcer a);
END $$;

-- fill: one batch; the caller must meet the conditions of announce(). Returns approximately how many objects are left; 0: done, and a new
-- epoch has begun. Meanwhile changes are captured, and announced afterwards.
CREATE OR REPLACE FUNCTION terasocket.fill(batch integer DEFAULT 5000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    a      terasocket.announcer;
    steps  text[] := ARRAY(SELECT s.step FROM (SELECT k.ord - 10 AS place, k.kind || ' tags' AS step
                                               FROM unnest('{user,participant,device}'::text[]) WITH ORDINALITY k (kind, ord)
                                               UNION ALL SELECT o.place, o.object_type FROM terasocket.object_types o
                                               WHERE to_regclass('OPENTERA.' || o.table_name) IS NOT NULL) s ORDER BY s.place);
    ot     terasocket.object_types;
    ids    bigint[];
    room   integer;
BEGIN
    PERFORM terasocket.enter_epoch(0);   -- it begins with the current epoch
    SELECT * INTO a FROM terasocket.announcer;
    IF a.fill_type IS NULL THEN
        RETURN 0;
    ELSIF a.fill_type = 'start' THEN
        -- The batches read the tables later than this: whatever was captured until now is included.
        IF terasocket.changes_overflow() THEN
            TRUNCATE terasocket.changes;
        ELSE
            DELETE FROM terasocket.changes c WHERE c.what NOT IN ('message', 'presence', 'kick');
        END IF;
        BEGIN
            TRUNCATE terasocket.told, terasocket.holdings, terasocket.aliases, terasocket.set_aside;
        EXCEPTION WHEN lock_not_available THEN   -- somebody reads them, perhaps a dump for hours
            DELETE FROM terasocket.told;
            DELETE FROM terasocket.holdings;
            DELETE FROM terasocket.aliases;
            DELETE FROM terasocket.set_aside;
        END;
        UPDATE terasocket.filling SET fill_type = steps[1], fill_id = 0;
        RETURN terasocket.left_to_fill(steps, 0);
    END IF;
    room := batch;
    LOOP
        SELECT * INTO ot FROM terasocket.object_types o WHERE o.object_type = replace(a.fill_type, ' tags', '');
        EXECUTE format('SELECT array_agg(o.id ORDER BY o.id) FROM (SELECT o.%1$I::bigint AS id FROM OPENTERA.%2$I o WHERE o.%1$I > $1 ORDER BY 1 LIMIT $2) o',
                       ot.id_key, ot.table_name) INTO ids USING a.fill_id, room;
        ids := coalesce(ids, '{}');
        IF a.fill_type LIKE '% tags' THEN
            PERFORM terasocket.hold(ot.object_type, ids::integer[]);
        ELSE
            INSERT INTO terasocket.told (object_type, id, keys, gone)
            SELECT ot.object_type, o.id, terasocket.keys(ot.object_type, o.r), terasocket.deleted_body(ot, o.r)
            FROM   terasocket.rows(ot.object_type, ids) o WHERE o.r ->> 'deleted_at' IS NULL;
            IF ot.object_type IN ('service', 'session_type', 'test_type') THEN
                PERFORM terasocket.announced_aliases(ot.object_type, ids);
            END IF;
        END IF;
        room := room - cardinality(ids);
        EXIT WHEN room = 0;
        a.fill_type := steps[array_position(steps, a.fill_type) + 1];
        a.fill_id := 0;
        IF a.fill_type IS NULL THEN
            UPDATE terasocket.filling SET fill_type = NULL, fill_id = 0;
            IF NOT a.is_settled THEN   -- by what there is now
                a.last_seq := a.last_seq + 1;
                INSERT INTO terasocket.events (seq, announcement, at, topic, type, body) VALUES (a.last_seq, a.announcement + 1, clock_timestamp(), '', 'terasocket.Settled', '{}');
            END IF;
            PERFORM terasocket.note_announcement(a.announcement + 1, a.last_seq, NULL, true);
            PERFORM terasocket.begin_epoch('filled', 0);
            RETURN 0;
        END IF;
    END LOOP;
    UPDATE terasocket.filling SET fill_type = a.fill_type, fill_id = ids[cardinality(ids)];
    RETURN terasocket.left_to_fill(steps, array_position(steps, a.fill_type));
END $$;

-- left_to_fill: approximately how many objects are left in the steps from this one on; at least 1.
CREATE OR REPLACE FUNCTION terasocket.left_to_fill(steps text[], at integer) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN greatest(1, (SELECT sum(greatest(c.reltuples, 0))::bigint
                        FROM   unnest(steps) WITH ORDINALITY s (step, n)
                        JOIN   terasocket.object_types o ON o.object_type = replace(s.step, ' tags', '')
                        JOIN   pg_class c ON c.oid = to_regclass('OPENTERA.' || o.table_name)
                        WHERE  s.n >= at));
END $$;
