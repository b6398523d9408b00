-- Poll: NOTIFY while it is quiet, poll while it is busy. NOTIFY makes writers wait for each other, from the end of each transaction until
-- it is flushed. While changes come fast, one gateway announces every few milliseconds, hint or not, and says so for one second at a
-- time: terasocket.polled_until. Until then hint() (file capture.sql) notifies nobody. If that gateway dies, the time passes.
--
-- A transaction may have found that time ahead, and commit long after it: a gateway that knows of such a time keeps looking until all
-- transactions that had begun before its end have ended (eventlog/poll.go).

-- poll: called at the end of an announcement, under its lock: this gateway begins to poll, continues for another second, or stops. me:
-- its number, 0 to 999, the last digits of polled_until. is_busy: it should poll. is_told: its last announcement was committed, and
-- polled; otherwise the others are told, and if they cannot be, it does not poll. The setting terasocket.poll (ALTER DATABASE ... SET)
-- decides: always, off, on (while it is busy). The default is on if max_prepared_transactions is 0: otherwise PREPARE TRANSACTION, which
-- PostgreSQL refuses after NOTIFY, would sometimes work and sometimes fail. is_late: next must be above every transaction that has an id
-- now, in case nobody polls any more (xmax is one above the last that has ended).
-- Result: whether this gateway polls; for at least how many milliseconds somebody does; whether somebody did when this announcement took
-- its snapshot; how many changes were ever recorded; xmin of the snapshot, and next.
CREATE OR REPLACE FUNCTION terasocket.poll(me integer, is_busy boolean, is_told boolean, is_late boolean, OUT is_mine boolean, OUT for_ms integer, OUT was_polled boolean,
    OUT recorded bigint, OUT oldest xid8, OUT next xid8)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until    bigint := coalesce(pg_sequence_last_value('terasocket.polled_until'), 0);
    now      bigint := date_part('epoch', clock_timestamp()) * 1000000;
    setting  text := coalesce(current_setting('terasocket.poll', true), '');
BEGIN
    was_polled := until > 0;
    for_ms := CASE WHEN until - now BETWEEN 0 AND 1000000 THEN (until - now) / 1000 ELSE 0 END;
    is_mine := CASE WHEN for_ms > 0 AND until % 1000 <> me THEN false   -- another gateway polls
                    WHEN setting IN ('always', 'off') THEN setting = 'always'
                    ELSE is_busy AND (setting = 'on' OR current_setting('max_prepared_transactions') = '0') END;
    IF is_mine AND (for_ms = 0 OR NOT is_told) THEN   -- the others must know, since this one may die
        is_mine := pg_notification_queue_usage() < 0.5;
        IF is_mine THEN
            PERFORM pg_notify('terasocket', '{"what": "poll"}');
        END IF;
    END IF;
    IF is_mine AND for_ms < 750 THEN
        PERFORM setval('terasocket.polled_until', now / 1000 * 1000 + 999000 + me);
    ELSIF NOT is_mine AND was_polled AND (for_ms = 0 OR until % 1000 = me) THEN
        PERFORM setval('terasocket.polled_until', 0);
        for_ms := 0;
    END IF;
    recorded := coalesce(pg_sequence_last_value('terasocket.changes_id_seq'), 0);
    oldest := pg_snapshot_xmin(pg_current_snapshot());
    next := CASE WHEN is_late AND NOT was_polled AND NOT is_mine THEN pg_current_xact_id() ELSE pg_snapshot_xmax(pg_current_snapshot()) END;
END $$;
