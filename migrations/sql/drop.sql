-- Drops these objects, each after those that depend on it. If something else depends on one, the error names it.
-- OBJECTS stands for an array of texts such as 'ROUTINE terasocket.f(integer)'.
DO $do$
DECLARE
    todo    text[] := OBJECTS;
    again   text[];
    object  text;
BEGIN
    WHILE cardinality(todo) > 0 LOOP
        again := '{}';
        FOREACH object IN ARRAY todo LOOP
            BEGIN
                EXECUTE 'DROP ' || object;
            EXCEPTION WHEN dependent_objects_still_exist THEN
                again := again || object;
            END;
        END LOOP;
        IF cardinality(again) = cardinality(todo) THEN
            EXECUTE 'DROP ' || again[1];
        END IF;
        todo := again;
    END LOOP;
END $do$
