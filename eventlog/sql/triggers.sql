-- Makes trigger functions anew whose tables have other columns by now, and says which triggers are missing or disabled.
-- No parameters.
-- Result: how many functions were made; how many triggers are missing; of which tables, "" when none is.
-- Index: those of the catalogue
SELECT terasocket.refresh_capture(), count(*), coalesce(string_agg(DISTINCT m.table_name, ', ' ORDER BY m.table_name), '')
FROM   terasocket.missing_triggers() m
