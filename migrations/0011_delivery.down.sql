DROP FUNCTION terasocket.present_keys(text, text, bigint, jsonb);
DROP TRIGGER notify ON terasocket.events;
CREATE TRIGGER notify AFTER INSERT ON terasocket.events
    REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT EXECUTE FUNCTION terasocket.notify_events();
