// Building elements. Ids, payloads and messages are other people's text: they only ever become text nodes.

import { local, precise, relative } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';
// How long a copy button says that it copied.
const COPIED_MS = 1500;

/** The seven states in the order in which people read them. */
export const STATES = ['pending', 'delayed', 'active', 'retrying', 'succeeded', 'dead', 'cancelled'];

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * An element. `properties`: `class`, `text`, `data` (an object), `on` (event → listener), anything else an attribute;
 * null, undefined and false leave an attribute out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name === 'text') element.textContent = value;
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A symbol of the sprite in index.html. */
export function icon(name, className = 'icon') {
  return svg('svg', { class: className, 'aria-hidden': 'true' }, svg('use', { href: `#i-${name}` }));
}

/** Shape, colour and word of a state. `unknown` is a task that ended, we don't know yet how. */
export function stateMark(state, word = state) {
  const mark = h('span', { class: 'state', data: { state } });
  mark.append(icon(state), h('span', { class: 'state-word', text: word }));
  return mark;
}

/** Changes a mark made by `stateMark` in place. */
export function setStateMark(mark, state, word = state) {
  if (mark.dataset.state === state && mark.lastChild.textContent === word) return;
  mark.dataset.state = state;
  mark.firstChild.firstChild.setAttribute('href', `#i-${state}`);
  mark.lastChild.textContent = word;
}

/** Sets text only where it differs: an untouched node costs no layout and disturbs no selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The page's clock follows the server's, so that ages are right on a machine whose clock is not. */
export const clock = {
  offset: 0,
  now() {
    return Date.now() + this.offset;
  },
};

/** A time as people say it (`2 h ago`), kept up to date by `tickTimes`. */
export function relativeTime(at) {
  const element = h('time', { data: { relative: '' } });
  setTime(element, at);
  return element;
}

/** Points a time made by `relativeTime` elsewhere; null empties it. */
export function setTime(element, at) {
  const stamp = at === null || at === undefined ? '' : String(at);
  if (element.dataset.relative !== stamp) {
    element.dataset.relative = stamp;
    if (stamp) {
      element.dateTime = new Date(at).toISOString();
      element.title = precise(at);
    } else {
      element.removeAttribute('datetime');
      element.removeAttribute('title');
    }
  }
  setText(element, stamp ? relative(at, clock.now()) : '');
}

/** A time of day in the reader's zone. */
export function absoluteTime(at) {
  return h('time', { datetime: new Date(at).toISOString(), title: precise(at), text: local(at) });
}

/** Brings every relative time of the document up to date. */
export function tickTimes() {
  const now = clock.now();
  for (const element of document.querySelectorAll('time[data-relative]')) {
    if (element.dataset.relative) setText(element, relative(Number(element.dataset.relative), now));
  }
}

/** A button that copies `text()`, and says so. `what` names it for screen readers. */
export function copyButton(text, what) {
  const button = h('button', { type: 'button', class: 'copy', 'aria-label': `Copy ${what}`, title: `Copy ${what}` }, icon('copy'));
  button.addEventListener('click', async (event) => {
    event.stopPropagation();
    const done = await copy(text());
    button.replaceChildren(icon(done ? 'succeeded' : 'dead'));
    button.title = done ? 'Copied' : 'The browser did not allow it: select the text and copy it';
    setTimeout(() => {
      button.replaceChildren(icon('copy'));
      button.title = `Copy ${what}`;
    }, COPIED_MS);
  });
  return button;
}

// The clipboard of the browser exists only on https and localhost; elsewhere the old way still works.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    const before = document.activeElement;
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    before?.focus();
    return done;
  }
}

/** A command that can be pasted into a terminal. */
export function command(text) {
  return h('div', { class: 'command' }, h('code', { text, tabindex: '0' }), copyButton(() => text, 'the command'));
}

/** What a panel says when it has nothing to show. */
export function emptyState(title, sentence, shell) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title', text: title }), h('p', { text: sentence }), shell ? command(shell) : null);
}

/** Makes the rows' buttons one stop for the Tab key; the arrows move between them. To be called whenever rows changed. */
export function rove(list) {
  const buttons = [...list.querySelectorAll('button.id')];
  const current = buttons.find((button) => button === document.activeElement) ?? buttons[0];
  for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
  if (list.dataset.roves) return;
  list.dataset.roves = 'yes';
  list.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = [...list.querySelectorAll('button.id')];
    const next = step ? all[all.indexOf(document.activeElement) + step] : null;
    if (!next) return;
    event.preventDefault();
    for (const button of all) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  });
}

/** One action at a time: the button is busy until its promise settles. */
export function busyWhile(button, action) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  Promise.resolve(action()).finally(() => button.removeAttribute('aria-busy'));
}
