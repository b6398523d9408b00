// DOM helpers. Server data becomes text, never markup: the page's policy refuses the rest.

// el makes an element from attributes, on... listeners, and children; null, false and undefined are skipped.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

const svgs = 'http://www.w3.org/2000/svg';
const paths = {
  well: 'M3 12h4l3-8 4 16 3-8h4',
  people: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm-7 10c0-4 3-7 7-7s7 3 7 7M17 4a4 4 0 0 1 0 7m2 3c2 1 3 4 3 7',
  log: 'M4 5h16M4 10h16M4 15h9m4-1 4 4m-2-5a3 3 0 1 1-6 0 3 3 0 0 1 6 0z',
  client: 'M4 4h16v12H4zM9 20h6m-3-4v4',
  user: 'M12 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10zm-9 10c0-5 4-8 9-8s9 3 9 8',
  participant: 'M12 21s-8-5-8-11a4.500 4.500 0 0 1 8-3 4.500 4.500 0 0 1 8 3c0 6-8 11-8 11z',
  device: 'M6 2h12v20H6zM11 18h2',
  theme: 'M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z',
  key: 'M12 16a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM11 13l9-9m-4 4 3 3',
};

// icon returns one of the above, hidden from screen readers.
export function icon(name) {
  const svg = document.createElementNS(svgs, 'svg');
  for (const [k, v] of Object.entries({ viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' })) svg.setAttribute(k, v);
  const path = document.createElementNS(svgs, 'path');
  path.setAttribute('d', paths[name]);
  svg.append(path);
  return svg;
}

// show replaces the children of a node.
export const show = (node, ...children) => node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));

// every calls work now and then every so many ms, one call at a time, while the page is visible. It returns a function that
// stops it.
export function every(ms, work) {
  let timer, isOver = false, isBusy = false;
  const turn = async () => {
    isBusy = true;
    if (!document.hidden) await work().catch(() => {});
    isBusy = false;
    if (!isOver) timer = setTimeout(turn, ms);
  };
  const wake = () => { if (!document.hidden && !isBusy) { clearTimeout(timer); turn(); } };
  document.addEventListener('visibilitychange', wake);
  turn();
  return () => { isOver = true; clearTimeout(timer); document.removeEventListener('visibilitychange', wake); };
}

// after calls work once there was no call for so many ms.
export function after(ms, work) {
  let timer;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), ms); };
}

// dialog shows a modal dialog and resolves to the argument of finish; undefined if it was closed.
export function dialog(label, build) {
  return new Promise((done) => {
    let answer;
    const finish = (value) => { answer = value; box.close(); };
    const box = el('dialog', { 'aria-label': label, onclose: () => { box.remove(); done(answer); },
      onclick: (e) => { if (e.target === box) box.close(); } });
    box.append(el('div', { class: 'sheet' }, el('h2', {}, label), build(finish)));
    document.body.append(box);
    box.showModal();
  });
}

export const toasts = el('div', { class: 'toasts', role: 'status' });

// toast shows a message for some seconds.
export function toast(text, isBad = false) {
  const note = el('div', { class: 'toast' + (isBad ? ' bad' : '') }, text);
  toasts.append(note);
  setTimeout(() => note.remove(), 6000);
}
