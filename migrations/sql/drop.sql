-- Drops these, each after what needs it. What is needed by something else is an error that says by what.
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
