-- The event log. Everything that any client may ever hear is a row of terasocket.events (docs/architecture.md).
-- OPENTERA stands for the schema of OpenTera's tables: the migrator puts its name there. No function has that schema in its
-- search_path: who may create functions there could else put one of PostgreSQL's in the shade, and have it run as us.

CREATE TABLE terasocket.events (
    seq          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    snapshot     pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic        text        NOT NULL,
    type         text        NOT NULL,
    op           text        CHECK (op IN ('C', 'U', 'D')),
    object_type  text,
    object_id    bigint,
    body         jsonb       NOT NULL,
    audience     jsonb       NOT NULL,
    former       jsonb,
    former_body  jsonb
);
CREATE INDEX events_transaction ON terasocket.events (xid, object_type, object_id);

COMMENT ON TABLE  terasocket.events IS 'everything that any client may ever hear; rows are kept for a bounded time';
COMMENT ON COLUMN terasocket.events.seq IS 'resume cursor; its order is not the order of commits';
COMMENT ON COLUMN terasocket.events.xid IS 'the transaction that recorded the event';
COMMENT ON COLUMN terasocket.events.snapshot IS 'who has heard this event has heard every transaction that it sees; of the others it may have missed some, with smaller seqs too';
COMMENT ON COLUMN terasocket.events.type IS 'full name of the protobuf message';
COMMENT ON COLUMN terasocket.events.op IS 'C, U or D of a DatabaseEvent';
COMMENT ON COLUMN terasocket.events.body IS 'object_value of a DatabaseEvent';
COMMENT ON COLUMN terasocket.events.audience IS 'routing keys of those who receive body, see terasocket.audience()';
COMMENT ON COLUMN terasocket.events.former IS 'routing keys of those who saw the object before; who is not in audience any more receives former_body as a DB_DELETE';

-- What a transaction that is still running must remember until it commits; empty between transactions.
-- what = 's:3', 'a:3', 'p:7': who held that routing key before a site, project, group or service died (array of 'u:...')
-- what = 'session:12':        the routing keys of that object before this transaction took them away
-- what = 'settle':            only asks for terasocket.settle() at commit
CREATE UNLOGGED TABLE terasocket.pending (
    xid    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    what   text NOT NULL,
    value  jsonb,
    PRIMARY KEY (xid, what)
);

-- What went wrong inside a trigger. OpenTera's own write went on; an event is missing.
CREATE TABLE terasocket.capture_errors (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_name   text        NOT NULL,
    op           text        NOT NULL,
    sqlstate     text        NOT NULL,
    message      text        NOT NULL,
    context      text
);

CREATE FUNCTION terasocket.capture_failed(table_name text, op text, state text, message text, context text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'terasocket: % of % was not recorded: % (SQLSTATE %)', op, table_name, message, state
        USING HINT = 'OpenTera''s own write is not affected. See terasocket.capture_errors.';
    INSERT INTO terasocket.capture_errors (table_name, op, sqlstate, message, context)
    VALUES (table_name, op, state, message, context);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'terasocket: could not record that either: %', SQLERRM;
END $$;

-- One NOTIFY per statement. The payload is a hint: it says which rows to read, never what is in them.
--   {"xid": "771", "from": 101, "to": 102, "changes": [{"seq": 101, "type": "participant", "op": "U", "id": 12}, ...]}
-- without "changes" when that would reach NOTIFY's 8,000 bytes. The rows are those of xid with from <= seq <= to.
-- When the queue of notifications is nearly full (a listener somewhere is stuck), nothing is sent: a full queue makes
-- commits fail. The gateways find the rows by their own look at the log.
CREATE FUNCTION terasocket.notify_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n          bigint;
    first_seq  bigint;
    last_seq   bigint;
    payload    text;
BEGIN
    SELECT count(*), min(seq), max(seq) INTO n, first_seq, last_seq FROM new_events;
    IF n = 0 OR pg_notification_queue_usage() > 0.9 THEN
        RETURN NULL;
    END IF;
    IF n <= 100 THEN
        SELECT json_build_object('xid', pg_current_xact_id()::text, 'from', first_seq, 'to', last_seq, 'changes',
                   json_agg(json_build_object('seq', seq, 'type', coalesce(object_type, type), 'op', op, 'id', object_id) ORDER BY seq))
        INTO   payload
        FROM   new_events;
    END IF;
    IF payload IS NULL OR octet_length(payload) >= 8000 THEN
        payload := json_build_object('xid', pg_current_xact_id()::text, 'from', first_seq, 'to', last_seq);
    END IF;
    PERFORM pg_notify('terasocket', payload);
    RETURN NULL;
END $$;

CREATE TRIGGER notify AFTER INSERT ON terasocket.events
    REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT EXECUTE FUNCTION terasocket.notify_events();
