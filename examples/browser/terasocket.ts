// A terasocket client for browsers, in JSON: logs in, yields events, reconnects and resumes.
// The page may have another origin (serve --allowed-origins).

/** One OpenTera message: "@type" is "type.googleapis.com/opentera.protobuf.DatabaseEvent", the rest its fields. */
export interface TeraMessage { "@type": string; [field: string]: unknown }

export interface Handlers {
  event(event: TeraMessage, seq: string): void;
  /** The missed events are no longer available: reload by REST. Live events follow. */
  incomplete(): void;
  state(text: string): void;
}

interface Frame { message: { header: { seq: string; time: number; topic: string }; events: TeraMessage[] } }

const comeBack = new Set([1006, 1011, 1012, 1013]); // broken, internal error, restart, too slow

class StayAway extends Error {}

/** Yields events until the server closes for good or refuses the credentials. */
export async function follow(base: string, username: string, password: string, handlers: Handlers): Promise<void> {
  let cursor = "0"; // the last seq: 64 bits, so a string

  // Returns a websocket URL: good once, within 60 s.
  async function login(): Promise<string> {
    // the server may not have noticed a broken connection yet: replace=true
    const query = "with_websocket=true" + (cursor === "0" ? "" : "&replace=true");
    const response = await fetch(`${base}/api/user/login?${query}`, {
      headers: { Authorization: "Basic " + btoa(String.fromCharCode(...new TextEncoder().encode(`${username}:${password}`))) },
    });
    if (response.status === 429 || response.status >= 500) throw new Error(`login: ${response.status}`); // see Retry-After
    if (!response.ok) throw new StayAway(`login refused: ${response.status}`);
    const answer = (await response.json()) as { websocket_url?: string; message?: string };
    if (!answer.websocket_url) throw new StayAway(answer.message ?? "the login asks for a second step");
    return answer.websocket_url;
  }

  function receive(text: string): void {
    const { header, events } = (JSON.parse(text) as Frame).message;
    cursor = header.seq;
    for (const event of events) {
      switch (event["@type"]) {
        case "type.googleapis.com/terasocket.v1.Cursor":
          break;
        case "type.googleapis.com/terasocket.v1.ReplayIncomplete":
          handlers.incomplete();
          break;
        default:
          handlers.event(event, header.seq);
      }
    }
  }

  // Runs one socket until it closes; returns the code.
  async function once(): Promise<number> {
    const socket = new WebSocket(`${await login()}&since=${cursor}`, "opentera.json");
    socket.onopen = () => handlers.state("connected");
    socket.onmessage = (message) => receive(message.data as string);
    return new Promise((resolve) => { socket.onclose = (closed) => resolve(closed.code); });
  }

  for (let pause = 1000; ; pause = Math.min(2 * pause, 60_000)) {
    let code = 1006;
    try {
      code = await once();
      pause = code === 1006 ? pause : 500;
    } catch (e) {
      if (e instanceof StayAway) return handlers.state(`staying away: ${e.message}`);
      handlers.state(`not connected: ${e}`);
    }
    // 4000: kicked; 1008, 1009: fix the client
    if (!comeBack.has(code)) return handlers.state(`staying away: closed with ${code}`);
    handlers.state(`coming back: ${code}`);
    await new Promise((resolve) => setTimeout(resolve, pause / 2 + Math.random() * pause / 2));
  }
}
