DROP FUNCTION terasocket.enter_timeline();
DROP TABLE terasocket.timeline;
DROP FUNCTION terasocket.this_timeline();
DROP FUNCTION terasocket.present_keys(text, text, bigint, jsonb);
DROP TRIGGER notify ON terasocket.events;
CREATE TRIGGER notify AFTER INSERT ON terasocket.events
    REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT EXECUTE FUNCTION terasocket.notify_events();
