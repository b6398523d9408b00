-- Re-creates trigger functions whose tables have other columns now, and returns which triggers are missing or disabled.
-- No parameters.
-- Result: number of functions re-created; number of missing triggers; their tables, "" for none
-- Index: those of the catalogue
SELECT terasocket.refresh_capture(), count(*), coalesce(string_agg(DISTINCT m.table_name, ', ' ORDER BY m.table_name), '')
FROM   terasocket.missing_triggers() m
