DROP FUNCTION terasocket.explain(bigint, text, text);
DROP FUNCTION terasocket.explained(jsonb, text, text, integer);
DROP FUNCTION terasocket.paths(text, integer, text[]);
DROP FUNCTION terasocket.needed(text);
DROP FUNCTION terasocket.roles_of(integer);
