DROP TABLE terasocket.links, terasocket.object_types, terasocket.written_here, terasocket.epochs, terasocket.trimmed, terasocket.set_aside, terasocket.announcements, terasocket.filling,
    terasocket.aliases, terasocket.holdings, terasocket.told, terasocket.events, terasocket.capture_errors, terasocket.changes, terasocket.functions;
DROP TYPE terasocket.touch;
DROP SEQUENCE IF EXISTS terasocket.polled_until; -- absent in databases from before the first release
