// A terasocket client in protobuf: logs in, prints events, reconnects and resumes.
//
//   npm install && node client.js https://host:port username password [folder of proto/]
import {readdirSync} from "node:fs";
import {setTimeout as sleep} from "node:timers/promises";
import protobuf from "protobufjs";
import WebSocket from "ws";

const [base, username, password, protoFolder = "../../proto"] = process.argv.slice(2);
if (!password) {
  console.error("usage: node client.js https://host:port username password [folder of proto/]");
  process.exit(2);
}
const comeBack = new Set([1006, 1011, 1012, 1013]); // broken, internal error, restart, too slow

class StayAway extends Error {}

const root = new protobuf.Root();
root.resolvePath = (_, path) => path.startsWith("google/") ? path : `${protoFolder}/${path}`;
for (const folder of ["opentera", "terasocket"]) {
  const files = readdirSync(`${protoFolder}/${folder}`).filter((name) => name.endsWith(".proto"));
  root.loadSync(files.map((name) => `${folder}/${name}`));
}
const TeraMessage = root.lookupType("opentera.protobuf.TeraMessage");
const TeraEvent = root.lookupType("opentera.protobuf.TeraEvent");

let cursor = "0"; // the last seq: 64 bits, so a string

// login returns a websocket URL: good once, within 60 s.
async function login() {
  // the server may not have noticed a broken connection yet: replace=true
  const query = "with_websocket=true" + (cursor === "0" ? "" : "&replace=true");
  const credentials = Buffer.from(`${username}:${password}`).toString("base64");
  const response = await fetch(`${base}/api/user/login?${query}`, {headers: {Authorization: `Basic ${credentials}`}});
  if (response.status === 429 || response.status >= 500) throw new Error(`login: ${response.status}`); // see Retry-After
  if (!response.ok) throw new StayAway(`login refused: ${response.status}`);
  const answer = await response.json();
  if (!answer.websocket_url) throw new StayAway(answer.message ?? "the login asks for a second step");
  return answer.websocket_url;
}

function receive(frame) {
  const message = TeraMessage.decode(frame).message; // google.protobuf.Any
  const teraEvent = TeraEvent.decode(message.value);
  cursor = String(teraEvent.header.seq);
  for (const any of teraEvent.events) {
    const name = any.type_url.split("/").pop();
    if (name === "terasocket.v1.Cursor") continue;
    if (name === "terasocket.v1.ReplayIncomplete") {
      console.log("incomplete: read again by REST");
      continue;
    }
    const type = root.lookupType(name);
    show(name, type.toObject(type.decode(any.value), {enums: String, longs: String}));
  }
}

// show stands for what an application does with an event.
function show(name, event) {
  console.log(cursor, name.split(".").pop(), event.type ?? "", event.objectType ?? "", event.objectValue ?? "");
}

// once runs one socket until it closes; returns the code.
async function once() {
  const socket = new WebSocket(`${await login()}&since=${cursor}`, "opentera.protobuf");
  return new Promise((resolve, reject) => {
    socket.on("open", () => console.log("connected"));
    socket.on("message", receive);
    socket.on("close", resolve);
    socket.on("error", reject); // unreachable, or refused
  });
}

for (let pause = 1000; ; pause = Math.min(2 * pause, 60_000)) {
  let code = 1006;
  try {
    code = await once();
    pause = 500;
  } catch (e) {
    if (e instanceof StayAway) {
      console.log("staying away:", e.message);
      break;
    }
    console.log("not connected:", e.cause?.message ?? e.message); // fetch puts the reason into cause
  }
  if (!comeBack.has(code)) {
    console.log(`staying away: closed with ${code}`); // 4000: kicked; 1008, 1009: fix the client
    break;
  }
  console.log(`coming back: ${code}`);
  await sleep(pause / 2 + Math.random() * pause / 2);
}
