// Plots with uPlot: colours from the style sheet, and a text legend of our own.
import { el, show } from './dom.js';
import { t, number, when } from './words.js';

const height = 150;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

// plot draws lines over time. series: {label, colour, digits, unit, scale}; update(data) with [times, values...], seconds.
export function plot(title, series, { points = false } = {}) {
  const legend = el('div', { class: 'legend' });
  const canvas = el('div', { class: 'canvas', role: 'img', 'aria-label': title });
  const card = el('figure', { class: 'card plot' }, el('figcaption', {}, title), legend, canvas);
  let chart, data = [[], ...series.map(() => [])];
  const say = (at) => show(legend, series.map((s, i) => {
    let j = at;
    if (at === null) { j = data[0].length - 1; while (j > 0 && data[i + 1][j] === null) j--; }
    const value = data[i + 1][j];
    return el('span', { class: 'key c-' + s.colour }, s.label, ' ', el('b', {}, value === null || value === undefined ? '–' : number(value, s.digits ?? 0)));
  }), at !== null && el('span', { class: 'muted' }, when(data[0][at] * 1000)));
  const draw = () => {
    chart?.destroy();
    const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
    const scales = { x: { time: true } };
    for (const s of series) scales[s.scale ?? 'y'] = { range: (_, low, high) => [0, Math.max((high ?? 0) * 1.15, s.least ?? 1)] };
    chart = new window.uPlot({
      width: Math.max(canvas.clientWidth, 200), height, scales, legend: { show: false }, cursor: { y: false, points: { size: 7 } },
      hooks: { setCursor: [(u) => say(u.cursor.idx ?? null)] },
      padding: [8, 26, 0, 0],
      axes: [{ ...axis, size: 26, values: (u, all) => all.map((v) => when(v * 1000).slice(0, u.scales.x.max - u.scales.x.min < 300 ? undefined : -3)), space: 80 },
        ...Object.keys(scales).filter((k) => k !== 'x').map((k, i) => ({ ...axis, scale: k, side: i ? 1 : 3, size: 44, space: 34, grid: { ...axis.grid, show: !i }, values: (_, all) => all.map((v) => number(v, 2)) }))],
      series: [{}, ...series.map((s) => ({ scale: s.scale ?? 'y', stroke: colour(s.colour), width: 2, fill: s.fill && colour(s.colour) + '22', spanGaps: true, points: { show: points, size: 4, fill: colour(s.colour) } }))],
    }, data, canvas);
  };
  const resize = new ResizeObserver(() => (chart && canvas.clientWidth ? chart.setSize({ width: canvas.clientWidth, height }) : draw()));
  return {
    card,
    begin() { draw(); say(null); resize.observe(canvas); },
    update(next) { data = next; chart?.setData(data); say(null); },
    end() { resize.disconnect(); chart?.destroy(); },
  };
}
