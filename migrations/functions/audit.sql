-- Deliveries: the weekly partitions of terasocket.deliveries (0005_audit.up.sql).

-- keep_deliveries: creates the partitions of this week and the next two, unless they exist, and drops those that ended longer ago than
-- retention. problems: why a week was not created or dropped, which does not affect the others; null if none. It waits at most a second
-- for a lock: a running dump prevents dropping a week, not creating one.
-- Whoever may execute it can drop what is older than a day: grant it only to gateways with --audit-deliveries.
CREATE OR REPLACE FUNCTION terasocket.keep_deliveries(retention interval, OUT made integer, OUT dropped integer, OUT problems text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    week  timestamptz;
    name  text;
BEGIN
    IF retention >= interval '1 day' IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'deliveries are kept for a day or longer';
    END IF;
    PERFORM terasocket.check_it_is_whole();
    made := 0;
    dropped := 0;
    LOCK TABLE ONLY terasocket.deliveries IN SHARE UPDATE EXCLUSIVE MODE;   -- one gateway at a time; no reader or writer waits
    FOR week IN SELECT date_trunc('week', clock_timestamp()) + i * interval '7 days' FROM generate_series(0, 2) i LOOP
        CONTINUE WHEN EXISTS (SELECT FROM terasocket.delivery_weeks w WHERE w.since = week);
        name := 'deliveries_' || to_char(week, 'YYYYMMDD');
        BEGIN
            -- attached, since creating it as a partition would make everybody wait
            EXECUTE format('CREATE TABLE terasocket.%I (LIKE terasocket.deliveries INCLUDING CONSTRAINTS)', name);
            EXECUTE format('ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket.%I FOR VALUES FROM (%L) TO (%L)', name, week, week + interval '7 days');
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN
            problems := concat_ws('; ', problems, format('%s not made: %s', name, SQLERRM));
        END;
    END LOOP;
    FOR name IN SELECT w.name FROM terasocket.delivery_weeks w WHERE w.until <= clock_timestamp() - retention ORDER BY 1 LOOP
        BEGIN
            EXECUTE format('DROP TABLE terasocket.%I', name);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;   -- next time
        WHEN OTHERS THEN
            problems := concat_ws('; ', problems, format('%s not dropped: %s', name, SQLERRM));
        END;
    END LOOP;
END $$;

-- delivery_weeks: the partitions that keep_deliveries() manages; others are left alone.
CREATE OR REPLACE VIEW terasocket.delivery_weeks AS
SELECT c.relname::text AS name, w.since AT TIME ZONE 'UTC' AS since, w.since AT TIME ZONE 'UTC' + interval '7 days' AS until
FROM   pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relnamespace = 'terasocket'::regnamespace,
       LATERAL (SELECT substring(c.relname FROM '^deliveries_([1-9]\d{7})$') AS day) d,   -- (to_date() fails on anything that is not a date)
       LATERAL (SELECT make_date(left(d.day, 4)::integer, 1, 1) + make_interval(months => substr(d.day, 5, 2)::integer - 1, days => right(d.day, 2)::integer - 1) AS since) w
WHERE  i.inhparent = 'terasocket.deliveries'::regclass AND to_char(w.since, 'YYYYMMDD') = d.day;
