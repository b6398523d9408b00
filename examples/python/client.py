#!/usr/bin/env python3
"""A terasocket client: logs in, prints events, reconnects and resumes. Needs: pip install websockets

    client.py https://host:port username password
"""
import asyncio
import base64
import json
import random
import sys
import urllib.error
import urllib.request

import websockets

COME_BACK = {1006, 1011, 1012, 1013}  # broken, internal error, restart, too slow


class StayAway(Exception):
    """The server does not want this client back as it is."""


def login(base, username, password, is_back):
    """The URL of a socket: good once, within 60 s."""
    # the server may not have noticed a broken connection yet: replace=true
    url = f"{base}/api/user/login?with_websocket=true" + ("&replace=true" if is_back else "")
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as e:
        if e.code >= 500 or e.code == 429:  # retry: see Retry-After
            raise
        raise StayAway(f"login refused: {e.code}") from e
    if not answer.get("websocket_url"):
        raise StayAway(answer.get("message", "the login asks for a second step"))
    return answer["websocket_url"]


def show(seq, event):
    """What an application would do with an event; event is the JSON of one OpenTera message."""
    kind = event.pop("@type").rpartition(".")[2]
    print(seq, kind, event.get("type", ""), event.get("objectType", ""), event.get("objectValue", ""), flush=True)


async def once(base, username, password, cursor):
    """One socket, until it closes; gives the code. cursor[0] is the last seq."""
    url = await asyncio.to_thread(login, base, username, password, cursor[0] > 0)
    async with websockets.connect(f"{url}&since={cursor[0]}", subprotocols=["opentera.json"]) as socket:
        print("connected", flush=True)
        try:
            async for frame in socket:
                tera_event = json.loads(frame)["message"]
                cursor[0] = int(tera_event["header"]["seq"])  # ProtoJSON writes 64-bit numbers as strings
                for event in tera_event["events"]:
                    if event["@type"].endswith("/terasocket.v1.ReplayIncomplete"):
                        print("incomplete: read again by REST", flush=True)
                    elif not event["@type"].endswith("/terasocket.v1.Cursor"):
                        show(cursor[0], event)
        except websockets.ConnectionClosed:
            pass
        return socket.close_code or 1006


async def main(base, username, password):
    cursor, pause = [0], 1
    while True:
        try:
            code = await once(base, username, password, cursor)
            pause = 1
        except StayAway as e:
            print("staying away:", e, flush=True)
            return
        except (OSError, TimeoutError, websockets.InvalidHandshake) as e:  # unreachable, or not accepting clients
            code = 1006
            print("not connected:", e, flush=True)
        if code not in COME_BACK:
            print(f"staying away: closed with {code}", flush=True)  # 4000: kicked; 1008, 1009: fix the client
            return
        print(f"coming back: {code}", flush=True)
        await asyncio.sleep(pause / 2 + random.random() * pause / 2)
        pause = min(2 * pause, 60)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
