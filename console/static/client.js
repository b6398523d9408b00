// The client view: login, socket, frames, reconnecting.
import { el, show } from './dom.js';
import { api, rest, logIn, basic, told } from './api.js';
import { t, clockMs, number } from './words.js';
import { plot } from './plot.js';

const most = 500; // frames kept

// s is the client's state; it runs on while another view is shown.
const s = { kind: 'user', how: 'password', name: '', snapshot: true, replace: false, state: 'out', entries: [], waiting: [], filter: '', isPaused: false, latency: [[], []], seq: 0, count: 0, missed: null };
let redraw = () => {}, offset = 0;

export function client(root) {
  const chart = plot(t('latency'), [{ label: 'ms', colour: 'accent', digits: 1 }], { points: true });
  const board = el('div'), list = el('ol', { class: 'frames', 'aria-live': 'off' });
  show(root, board, list);
  let shown;
  for (const e of [...s.entries, ...s.waiting]) e.node = null; // the language may have changed
  redraw = (isFrame) => {
    if (!isFrame || shown !== s.state) {
      shown = s.state;
      show(board, s.state === 'out' ? loginCard() : toolbar(chart));
      if (s.state !== 'out') chart.begin();
    }
    if (s.state !== 'out') {
      chart.update(s.latency);
      board.querySelector('.counts').textContent = `${t('frames', { n: number(s.count) })}, ${t('last_seq', { seq: s.seq })}`;
      board.querySelector('.pause').textContent = s.isPaused ? t('go_on', { n: s.waiting.length }) : t('pause');
      board.querySelector('.state').textContent = stateText();
    }
    const fits = s.entries.filter((e) => e.mark || e.text.includes(s.filter.toLowerCase()));
    show(list, fits.slice(0, 200).map((e) => (e.node ??= entry(e))), s.state !== 'out' && !s.entries.length && el('li', { class: 'muted' }, t('no_frames')));
  };
  redraw();
  return () => { redraw = () => {}; chart.end(); };
}

// pause toggles; the space bar calls it.
export function pause() {
  if (s.state === 'out') return;
  s.isPaused = !s.isPaused;
  if (!s.isPaused) { s.entries = [...s.waiting, ...s.entries].slice(0, most); s.waiting = []; }
  redraw();
}

function stateText() {
  if (s.state === 'away') return t(s.isCut ? 'net_cut' : 'coming_back', { s: Math.max(0, Math.ceil((s.backAt - Date.now()) / 1000)) });
  return s.state === 'over' ? t('ended', { code: s.code, why: s.why }) : t(s.state === 'on' ? 'connected' : 'connecting');
}

function toolbar(chart) {
  const isOn = s.state === 'on', isAway = s.state === 'away';
  return [el('div', { class: 'bar' }, el('span', { class: 'chip c-' + s.kind }, s.who || t('kind_' + s.kind)), el('span', { role: 'status' }, el('span', { class: 'dot ' + (isOn ? 'good' : isAway ? 'odd' : 'off') }), el('span', { class: 'state' })),
    el('span', { class: 'muted counts' }), el('input', { type: 'search', class: 'search', placeholder: t('filter'), 'aria-label': t('filter'), value: s.filter, oninput: (e) => { s.filter = e.target.value; redraw(true); } }),
    el('button', { class: 'pause', onclick: pause }), el('button', { onclick: () => { s.entries = []; s.waiting = []; redraw(); } }, t('clear')),
    isAway ? el('button', { class: 'main', onclick: () => { clearTimeout(s.timer); connect(); } }, t('back_now')) : isOn && el('button', { class: 'danger', onclick: cut }, t('cut')),
    el('button', { onclick: leave }, t('disconnect'))), chart.card];
}

function loginCard() {
  const wrong = el('p', { class: 'wrong', role: 'alert' }, s.problem ?? '');
  const choose = (name, values, label) => el('label', {}, el('span', {}, label), el('select', { name, onchange: (e) => { s[name] = e.target.value; if (!ways[s.kind].includes(s.how)) s.how = ways[s.kind][0]; s.problem = ''; redraw(); } }, values.map(([v, text]) => el('option', { value: v, selected: s[name] === v }, text))));
  const input = (name, label, more = {}) => el('label', {}, el('span', {}, label), el('input', { name, required: true, autocomplete: 'off', ...more }));
  const check = (name) => el('label', { class: 'check' }, el('input', { type: 'checkbox', name, checked: s[name], onchange: (e) => { s[name] = e.target.checked; } }), t(name));
  return el('form', { class: 'card login', onsubmit: async (e) => {
    e.preventDefault();
    const given = Object.fromEntries(new FormData(e.target)), button = e.target.querySelector('button');
    button.disabled = true;
    wrong.textContent = '';
    try {
      await begin(given);
    } catch (problem) {
      s.state = 'out';
      wrong.textContent = told(problem);
    }
    button.disabled = false;
  } }, el('p', { class: 'muted' }, t('client_intro')),
  choose('kind', ['user', 'participant', 'device'].map((k) => [k, t('kind_' + k)]), t('as_who')), choose('how', ways[s.kind].map((h) => [h, t('how_' + h)]), t('how')),
  s.how === 'password' ? [input('name', t('username'), { value: s.name, autocomplete: 'username' }), input('password', t('password'), { type: 'password', autocomplete: 'current-password' })] : input('token', t(s.how), { type: 'password' }),
  check('snapshot'), s.how !== 'url' && check('replace'), wrong, el('div', { class: 'row end' }, el('button', { class: 'main' }, t('connect'))));
}

const ways = { user: ['password', 'url'], participant: ['password', 'token', 'url'], device: ['token', 'url'] };

// begin logs in. To reconnect it keeps a token, never the password.
async function begin({ name, password, token }) {
  s.name = name ?? '';
  const wanted = 'with_websocket=true' + (s.replace ? '&replace=true' : '');
  let answer;
  if (s.how === 'url') answer = { websocket_url: token };
  else if (s.kind === 'user') answer = await logIn(name, password, wanted);
  else answer = await rest(`${s.kind}/login?${s.kind === 'device' ? '' : wanted}`, s.how === 'token' ? 'OpenTera ' + token : basic(name, password));
  s.token = s.kind === 'device' ? token : answer[s.kind + '_token'];
  s.who = answer.user_fullname ?? answer.participant_name ?? answer.device_info?.device_name ?? answer.device_name ?? '';
  Object.assign(s, { state: 'connecting', entries: [], waiting: [], latency: [[], []], seq: 0, count: 0, missed: null, problem: '' });
  await measure();
  open(answer.websocket_url);
}

// measure compares this clock with the gateway's.
async function measure() {
  const sent = Date.now(), { now } = await api('status?after=9e12');
  offset = now * 1000 - (sent + Date.now()) / 2;
}

// connect reconnects with a new URL, resuming after the last seq.
async function connect() {
  s.state = 'connecting';
  redraw();
  try {
    const path = s.kind === 'device' ? 'device/login' : `${s.kind}/refresh_token?with_websocket=true&replace=true`;
    const answer = await rest(path, 'OpenTera ' + s.token);
    s.token = answer.refresh_token ?? s.token;
    open(answer.websocket_url);
  } catch (problem) {
    if (problem.status === 401 || problem.status === 403 || !s.token) return over(0, told(problem));
    away(3 + 3 * Math.random());
  }
}

function open(url) {
  const given = new URL(url ?? '', location.href), id = given.searchParams.get('id');
  const kind = given.pathname.split('/').pop();
  if (!id || !['user', 'participant', 'device'].includes(kind)) return over(0, t('how_url'));
  s.secret = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
  const here = new URL('client/wss/' + kind, location.href);
  here.protocol = here.protocol.replace('http', 'ws');
  here.search = new URLSearchParams({ id, encoding: 'json', since: s.seq, cut: s.secret, ...(s.replace || s.seq ? { replace: 'true' } : {}), ...(s.snapshot && !s.seq ? { snapshot: '1' } : {}) });
  const isBack = s.seq > 0, socket = new WebSocket(here);
  Object.assign(s, { kind, socket });
  socket.onopen = () => {
    s.state = 'on';
    s.missed = isBack ? { n: 0, at: Date.now() + offset, done: false } : null;
    mark(isBack ? 'mark_back' : 'mark_open', { seq: s.seq, name: s.who || t('kind_' + kind) });
  };
  socket.onmessage = (m) => { if (s.socket === socket) hear(m.data); };
  socket.onclose = ({ code, reason }) => {
    if (s.socket !== socket) return;
    s.socket = null;
    if (code === 4000 || code === 1008 || code === 1009 || !s.token) return over(code, reason);
    if (!s.isCut) mark('mark_lost', { code, why: reason });
    away(s.isCut ? 8 : 1 + 4 * Math.random());
  };
}

function over(code, why) {
  Object.assign(s, { state: 'over', code: code || '', why, isCut: false });
  mark('mark_lost', { code: code || '', why });
}

function away(seconds) {
  Object.assign(s, { state: 'away', backAt: Date.now() + seconds * 1000 });
  const tick = () => {
    if (s.state !== 'away') return;
    if (Date.now() >= s.backAt) return connect();
    redraw(true);
    s.timer = setTimeout(tick, 250);
  };
  redraw();
  tick();
}

// cut has the gateway drop the connection without a close frame, as when a network breaks.
async function cut() {
  s.isCut = true;
  mark('mark_cut', { seq: s.seq });
  try {
    await api('cut', { method: 'POST', body: { secret: s.secret } });
  } catch (problem) {
    s.isCut = false;
    mark('mark_lost', { code: '', why: told(problem) });
  }
}

function leave() {
  clearTimeout(s.timer);
  const socket = s.socket;
  Object.assign(s, { socket: null, token: '', state: 'out', isCut: false, isPaused: false });
  socket?.close(1000);
  redraw();
}

function add(e) {
  (s.isPaused ? s.waiting : s.entries).unshift(e);
  (s.isPaused ? s.waiting : s.entries).splice(most);
}

function mark(key, values) {
  if (key === 'mark_back') s.isCut = false;
  add({ mark: key, values, at: Date.now() + offset, text: '' });
  redraw();
}

// hear handles one frame: a TeraMessage with one TeraEvent with one event.
function hear(data) {
  let message;
  try {
    ({ message } = JSON.parse(data));
  } catch {
    message = { events: [{ '@type': 'text', text: String(data) }] };
  }
  const now = Date.now() + offset, event = message.events?.[0] ?? {}, header = message.header ?? {};
  const type = (event['@type'] ?? '?').split(/[./]/).pop(), at = header.time ? header.time * 1000 : now;
  s.count++;
  if (type === 'Cursor') s.seq = Math.max(s.seq, Number(event.seq ?? 0));
  if (header.seq) s.seq = Math.max(s.seq, Number(header.seq));
  const isMissed = s.missed && !s.missed.done && header.seq && at < s.missed.at;
  if (isMissed) s.missed.n++;
  else if (s.missed && !s.missed.done && header.seq && type !== 'Cursor') finish();
  add({ type, event, header, at: now, isMissed, text: data.toLowerCase() });
  if (header.seq && !isMissed && type !== 'Cursor' && type !== 'ReplayIncomplete') {
    s.latency[0].push(now / 1000);
    s.latency[1].push(Math.max(0, now - at));
    s.latency.forEach((l) => l.splice(0, l.length - 300));
  }
  if (s.missed && !s.missed.done) { clearTimeout(s.missed.timer); s.missed.timer = setTimeout(finish, 700); }
  cancelAnimationFrame(s.frame);
  s.frame = requestAnimationFrame(() => redraw(true));
}

function finish() {
  if (!s.missed || s.missed.done) return;
  s.missed.done = true;
  mark('mark_resumed', { n: s.missed.n });
}

// family chooses the colour.
function family({ type, event }) {
  if (type === 'DatabaseEvent') return { DB_CREATE: 'create', DB_UPDATE: 'update', DB_DELETE: 'delete' }[event.type] ?? 'update';
  if (/^(User|Participant|Device)Event$/.test(type)) return 'presence';
  if (/Session/.test(type)) return 'session';
  return type === 'Cursor' || type === 'ReplayIncomplete' ? 'cursor' : 'other';
}

// summary describes an event in one line.
function summary({ type, event }) {
  if (type === 'DatabaseEvent') {
    let value = {};
    try { value = JSON.parse(event.objectValue); } catch { /* shown below as is */ }
    const name = Object.entries(value).find(([k, v]) => k.endsWith('_name') && v)?.[1];
    return [el('b', {}, `${event.objectType} ${value['id_' + event.objectType] ?? ''}`), name && ` ${name}`];
  }
  if (type === 'Cursor') return t('frame_Cursor', { seq: event.seq });
  if (type === 'ReplayIncomplete') return t('frame_incomplete');
  return [el('b', {}, event.userFullname ?? event.participantName ?? event.deviceName ?? event.sessionName ?? ''), ' ', event.type?.toLowerCase().replaceAll('_', ' ') ?? ''];
}

function entry(e) {
  if (e.mark) return el('li', { class: 'mark ' + e.mark }, el('span', { class: 'n' }, clockMs(e.at)), t(e.mark, e.values));
  return el('li', { class: 'frame f-' + family(e) }, el('details', {}, el('summary', {}, el('span', { class: 'n muted' }, clockMs(e.at)),
    el('span', { class: 'chip' }, e.type === 'DatabaseEvent' ? e.event.type : e.type), el('span', { class: 'grow' }, summary(e)), e.isMissed && el('span', { class: 'chip missed' }, t('replayed')), e.header.seq && el('span', { class: 'muted n seq' }, String(e.header.seq))),
  el('pre', {}, JSON.stringify({ header: e.header, events: [pretty(e.event)] }, null, 2))));
}

function pretty(event) {
  try {
    return event.objectValue ? { ...event, objectValue: JSON.parse(event.objectValue) } : event;
  } catch {
    return event;
  }
}
