// What failed and why: dead tasks with the error that killed them, and what can be done about it.

import { byId, busyWhile, emptyState, h, icon, relativeTime, setText, setTime } from './dom.js';
import { count, exact } from './format.js';

// A second click within this time deletes; a first one alone never does.
const ARMED_MS = 4_000;

const KINDS = {
  permanent: 'permanent error', timeout: 'timed out', panic: 'handler panicked', unsupported: 'unsupported', lost: 'worker lost', transient: 'failed',
};

/** The sort of a failure in words. */
export const kindWord = (kind) => KINDS[kind] ?? kind;

export function drawFailed(model, { onOpen, onRetry, onDelete }) {
  const list = byId('failed');
  const total = model.stats?.dead ?? model.failed.length;
  setText(byId('failed-tally'), total > 0 ? count(total) : '');
  byId('failed-tally').title = total > 0 ? `${exact(total)} dead` : '';
  byId('failed-more').hidden = model.failedCursor === null;
  if (!model.failedLoaded) return;
  if (model.failed.length === 0) {
    if (list.classList.contains('is-empty')) return;
    list.classList.add('is-empty');
    list.replaceChildren(h('li', {}, emptyState('Nothing has failed', 'A task whose retries are spent, or whose error is permanent, ends here with its reason, to be retried or deleted. For all of them in a terminal:', `tidemill tasks --state dead -q ${model.queue}`)));
    return;
  }
  list.classList.remove('is-empty');
  const known = new Map([...list.querySelectorAll(':scope > [data-key]')].map((row) => [row.dataset.key, row]));
  const wanted = model.failed.map((task) => {
    const key = `${task.id}\n${task.ended_at}`;
    const row = known.get(key) ?? failedRow(task, key, { onOpen, onRetry, onDelete });
    fill(row, task);
    return row;
  });
  if (wanted.length !== list.children.length || wanted.some((row, i) => list.children[i] !== row)) {
    const focused = document.activeElement;
    list.replaceChildren(...wanted);
    if (focused?.isConnected && list.contains(focused)) focused.focus();
  }
}

function failedRow(task, key, { onOpen, onRetry, onDelete }) {
  return h('li', { class: 'failed-row', data: { key, id: task.id } },
    icon('dead'),
    h('div', { class: 'failed-what' },
      h('div', { class: 'failed-line' },
        h('button', { type: 'button', class: 'id', text: task.id, title: task.id, on: { click: () => onOpen(task.id) } }),
        h('span', { class: 'muted failed-type', text: task.type }),
        relativeTime(null)),
      h('p', { class: 'reason' })),
    h('div', { class: 'failed-actions' },
      h('button', { type: 'button', class: 'button small', text: 'Retry', 'aria-label': `Retry ${task.id}`, on: { click: ({ currentTarget }) => busyWhile(currentTarget, () => onRetry(task.id)) } }),
      deleteButton(task.id, onDelete, 'button quiet small')));
}

function fill(row, task) {
  setTime(row.querySelector('time'), Date.parse(task.ended_at));
  const reason = row.querySelector('.reason');
  if (task.reason === undefined) return;
  const { reason: why } = task;
  setText(reason, why ? why.message : 'No error was kept for it.');
  reason.title = why ? `${kindWord(why.kind)}, attempt ${why.attempt}\n${why.message}` : '';
}

/** A button that deletes at the second click. */
export function deleteButton(id, onDelete, className) {
  let timer = null;
  const button = h('button', { type: 'button', class: className, text: 'Delete', 'aria-label': `Delete ${id}` });
  const disarm = () => {
    clearTimeout(timer);
    timer = null;
    button.textContent = 'Delete';
    button.setAttribute('aria-label', `Delete ${id}`);
    button.classList.remove('danger');
  };
  button.addEventListener('click', () => {
    if (timer !== null) {
      disarm();
      busyWhile(button, () => onDelete(id));
      return;
    }
    button.textContent = 'Sure?';
    button.setAttribute('aria-label', `Really delete ${id}`);
    button.classList.add('danger');
    timer = setTimeout(disarm, ARMED_MS);
  });
  return button;
}
