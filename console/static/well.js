// Is it healthy? Tiles, plots, gateways, and the doctor's findings.
import { el, show, every } from './dom.js';
import { api, told } from './api.js';
import { t, number, span, when } from './words.js';
import { plot } from './plot.js';

let points = []; // of the last quarter of an hour
let checkup = null;

export function well(root) {
  const tiles = el('div', { class: 'tiles' }), plots = el('div', { class: 'plots' }), gateways = el('div', { class: 'scroll' }), doctor = el('div');
  const all = [
    [plot(t('plot_sockets'), ['user', 'participant', 'device'].map((k) => ({ label: t('kinds_' + k), colour: k }))), (p) => [p.user, p.participant, p.device]],
    [plot(t('plot_rates'), [{ label: t('events_in'), colour: 'second', digits: 1 }, { label: t('deliveries'), colour: 'accent', digits: 1, fill: true }]), (p) => [p.events, p.deliveries]],
    [plot(t('plot_latency'), [{ label: 'p50', colour: 'accent', digits: 1 }, { label: 'p99', colour: 'warn', digits: 1 }], { points: true }), (p) => [p.p50 === null ? null : p.p50 * 1000, p.p99 === null ? null : p.p99 * 1000]],
    [plot(t('plot_log'), [{ label: t('events'), colour: 'accent', fill: true }, { label: t('age_min'), colour: 'second', digits: 1, scale: 'age' }]), (p) => [p.log_rows, p.log_age === null ? null : p.log_age / 60]],
  ];
  show(plots, all.map(([p]) => p.card));
  show(root, tiles, plots, el('div', { class: 'columns' },
    el('section', { class: 'card' }, el('h2', {}, t('doctor')), doctor),
    el('section', { class: 'card' }, el('h2', {}, t('gateways')), gateways)));
  all.forEach(([p]) => p.begin());

  let last = null;
  const draw = () => {
    if (last) show(tiles, tilesOf(last));
  };
  const examine = async (method) => {
    show(doctor, el('p', { class: 'muted busy' }, t('examining')));
    try {
      checkup = await api('doctor', { method });
      show(doctor, findings(checkup, () => examine('POST')));
    } catch (e) {
      show(doctor, el('p', { class: 'wrong' }, told(e)), el('button', { onclick: () => examine('POST') }, t('examine')));
    }
    draw();
  };
  const stop = every(2000, async () => {
    last = await api('status?after=' + (points.at(-1)?.t ?? 0));
    points = [...points, ...last.points].filter((p) => p.t > last.now - 15 * 60);
    draw();
    for (const [p, values] of all) {
      const rows = points.map(values);
      p.update([points.map((q) => q.t), ...values(points[0] ?? {}).map((_, i) => rows.map((row) => row[i]))]);
    }
    show(gateways, gatewaysOf(last));
  });
  if (checkup) show(doctor, findings(checkup, () => examine('POST')));
  examine('GET').catch(() => {});
  return () => { stop(); all.forEach(([p]) => p.end()); };
}

const tile = (state, label, value, ...rest) => el('div', { class: 'card tile ' + state }, el('div', { class: 'label' }, label), el('div', { class: 'value' }, value), rest.map((r) => el('div', { class: 'muted' }, r)));

function tilesOf(s) {
  const g = s.gauges ?? {}, p = s.points.at(-1) ?? points.at(-1) ?? {};
  const spoke = points.findLast((q) => q.p50 !== null);
  const bad = checkup?.checks.filter((c) => c.status === 'FAIL').length ?? 0, odd = checkup?.checks.filter((c) => c.status === 'warn').length ?? 0;
  const state = s.not_ready || bad || g.listener_up === 0 ? 'bad' : s.degraded || odd ? 'odd' : 'good';
  const sum = (p.user ?? 0) + (p.participant ?? 0) + (p.device ?? 0);
  return [
    tile('first ' + state, t('well'), t(state === 'bad' ? 'not_well' : s.degraded ? 'look' : odd ? 'well_remarks' : 'all_well'), s.not_ready ? t('not_taking', { why: s.not_ready }) : t('taking'), (bad + odd) > 0 && t('remarks', { n: bad + odd }), s.degraded && t('degraded', { what: s.degraded })),
    tile('', t('sockets'), number(sum), ['user', 'participant', 'device'].map((k) => el('span', { class: 'key c-' + k }, number(p[k] ?? 0), ' ', t('kinds_' + k).toLowerCase()))),
    tile('', t('deliveries'), [number(p.deliveries ?? 0, 1), el('small', {}, ' ' + t('per_second'))], `${t('events_in')}: ${number(p.events ?? 0, 1)} ${t('per_second')}`),
    tile('', t('from_commit'), spoke ? span(spoke.p50) : '–', spoke ? t('slowest', { ms: span(spoke.p99) }) : t('nothing_yet')),
    tile('', t('event_log'), g.log_rows === undefined ? '–' : number(g.log_rows), g.log_rows === undefined ? t('database_silent') : t('reaches', { age: span(g.log_oldest_seconds) })),
    tile(g.listener_up === 0 ? 'bad' : '', t('listener'), t(g.listener_up === 0 ? 'down' : 'up'), (g.lag_seconds ?? 0) > 1 ? t('lag', { s: span(g.lag_seconds) }) : (g.changes_waiting ?? 0) > 0 ? t('waiting', { n: number(g.changes_waiting) }) : t('no_lag')),
  ];
}

function gatewaysOf(s) {
  if (!s.gateways) return el('p', { class: 'muted' }, s.lacks || t('database_silent'));
  return el('table', {}, el('thead', {}, el('tr', {}, ['gateway', 'sockets', 'lease', 'since'].map((k) => el('th', {}, t(k))))),
    el('tbody', {}, s.gateways.map((g) => el('tr', {}, el('td', {}, g.name, ' ', g.name === s.gateway && el('span', { class: 'chip' }, t('this_one'))), el('td', { class: 'n' }, number(g.sockets)),
      el('td', {}, el('span', { class: 'dot ' + (g.lease > 0 ? 'good' : 'bad') }), g.lease > 0 ? t('lease_left', { s: span(g.lease) }) : t('lease_over', { s: span(-g.lease) })), el('td', {}, when(g.started_at))))));
}

// findings are in the doctor's own words, which are English.
function findings(c, again) {
  const of = (...all) => c.checks.filter((f) => all.includes(f.status));
  const line = (f) => el('li', { class: 'finding ' + f.status }, el('span', { class: 'chip ' + f.status }, t('status_' + f.status)), el('div', { lang: 'en' }, el('b', {}, f.name), ' ', f.found, f.todo && el('div', { class: 'todo' }, el('span', { class: 'muted' }, t('todo') + ': '), f.todo)));
  const folded = (label, all) => all.length > 0 && el('details', {}, el('summary', {}, label), el('ul', { class: 'plain' }, all.map(line)));
  return [el('ul', { class: 'plain' }, of('FAIL').map(line), of('warn').map(line)), folded(t('right', { n: of('ok').length }), of('ok')), folded(t('skipped', { n: of('skip').length }), of('skip')),
    el('div', { class: 'row end' }, el('span', { class: 'muted' }, t('examined', { when: when(c.at) })), el('button', { onclick: again }, t('examine')))];
}
