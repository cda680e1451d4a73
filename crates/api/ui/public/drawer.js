// Everything about one task: where it stands, how it came there, what it carries, and what can be done with it.

import { ApiError, api } from './api.js';
import { absoluteTime, byId, busyWhile, clock, copyButton, h, icon, setStateMark, stateMark } from './dom.js';
import { deleteButton, kindWord } from './failed.js';
import { duration, exact } from './format.js';

const REFRESH_MS = 2_000;
// A payload may have a megabyte; what nobody reads isn't laid out.
const SHOWN_MAX = 20_000;

const ENDED = ['succeeded', 'dead', 'cancelled'];

export class Drawer {
  /** `act(name, id)` does `retry`, `cancel` or `remove` and says so; true where it worked. */
  constructor({ act, onClose }) {
    this.act = act;
    this.dialog = byId('drawer');
    this.id = null;
    this.dialog.addEventListener('close', () => {
      clearTimeout(this.timer);
      this.id = null;
      this.dialog.replaceChildren();
      this.opener?.isConnected && this.opener.focus();
      onClose();
    });
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  async open(queue, id) {
    this.opener = this.dialog.open ? this.opener : document.activeElement;
    this.queue = queue;
    this.id = id;
    this.shown = null;
    this.frame();
    if (!this.dialog.open) this.dialog.showModal();
    await this.refresh();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  frame() {
    this.mark = stateMark('unknown', 'reading');
    this.body = h('div', { class: 'drawer-body' });
    this.actions = h('div', { class: 'drawer-actions' });
    this.dialog.replaceChildren(
      h('div', { class: 'drawer-head' },
        this.mark,
        h('button', { type: 'button', class: 'button quiet square', 'aria-label': 'Close', title: 'Close (Esc)', on: { click: () => this.dialog.close() } }, icon('close'))),
      h('div', { class: 'drawer-title' }, h('h2', { id: 'drawer-title', class: 'mono', text: this.id }), copyButton(() => this.id, 'the id')),
      this.actions, this.body);
  }

  async refresh() {
    const { id, queue } = this;
    clearTimeout(this.timer);
    let task = null;
    try {
      task = await api.task(queue, id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.id === id) this.fail(error);
    }
    if (this.id !== id) return;
    if (task) this.show(task);
    this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  fail(error) {
    this.shown = null;
    setStateMark(this.mark, 'unknown', error.status === 404 ? 'not here' : 'unknown');
    this.actions.replaceChildren();
    const why = error.status === 404
      ? `Queue ${this.queue} has no task of this id. It never came, was deleted, or ended so long ago that it is no longer kept.`
      : error.message;
    this.body.replaceChildren(h('p', { class: 'notice', text: why }));
  }

  show(task) {
    // What has not changed is left alone, so that a selection or a scroll position survives.
    const shown = JSON.stringify(task);
    if (shown === this.shown) return;
    this.shown = shown;
    setStateMark(this.mark, task.state);
    this.actions.replaceChildren(...this.buttons(task));
    this.body.replaceChildren(
      facts(task),
      section('Timeline', timeline(task)),
      ...(task.attempts?.length ? [section('What went wrong', attempts(task))] : []),
      section('Payload', json(task.payload, 'the payload')),
      ...(task.result === undefined ? [] : [section('Result', json(task.result, 'the result'))]),
    );
  }

  buttons(task) {
    const buttons = [];
    const button = (text, className, name) => buttons.push(h('button', {
      type: 'button', class: className, text, on: { click: ({ currentTarget }) => busyWhile(currentTarget, () => this.run(name)) },
    }));
    if (['dead', 'cancelled'].includes(task.state)) button('Retry', 'button primary', 'retry');
    if (['delayed', 'retrying'].includes(task.state)) button('Run now', 'button primary', 'retry');
    if (!ENDED.includes(task.state)) button('Cancel the task', 'button', 'cancel');
    if (task.state !== 'active') buttons.push(deleteButton(task.id, () => this.run('remove'), 'button quiet'));
    return buttons;
  }

  async run(name) {
    const done = await this.act(name, this.id);
    if (done && name === 'remove') this.dialog.close();
    else if (this.id) await this.refresh();
  }
}

function section(title, content) {
  return h('section', {}, h('h3', { text: title }), content);
}

function facts(task) {
  const tries = task.retries + 1;
  const rows = [
    ['Type', task.type],
    ['Queue', task.queue],
    ['Attempts', `${task.failures} of ${tries} failed${task.losses ? `, ${task.losses} lost with their worker` : ''}`],
    ['Priority', String(task.priority)],
    ['Timeout', task.timeout_ms ? duration(task.timeout_ms) : 'none', task.timeout_ms ? `${exact(task.timeout_ms)} ms` : ''],
  ];
  if (task.duration_ms) rows.splice(2, 0, ['Duration', duration(task.duration_ms), `${exact(task.duration_ms)} ms`]);
  if (task.worker) rows.push(['Worker', task.worker]);
  if (task.progress) rows.push(['Progress', `${task.progress.percent} %${task.progress.message ? ` · ${task.progress.message}` : ''}`]);
  return h('dl', { class: 'facts' }, ...rows.flatMap(([name, value, title]) => [h('dt', { text: name }), h('dd', { text: value, title: title || null })]));
}

function timeline(task) {
  const moments = [{ at: task.enqueued_at, state: 'pending', text: 'Enqueued' }];
  for (const attempt of task.attempts ?? []) {
    const last = task.state === 'dead' && attempt === task.attempts.at(-1);
    moments.push({ at: attempt.ended_at, state: last ? 'dead' : 'retrying', text: `Attempt ${attempt.attempt}: ${outcome(attempt)}` });
  }
  if (task.started_at) moments.push({ at: task.started_at, state: 'active', text: 'Started' });
  if (task.due_at) moments.push({ at: task.due_at, state: task.state, text: task.state === 'retrying' ? 'Next try' : 'Due' });
  if (task.ended_at) moments.push({ at: task.ended_at, state: task.state, text: task.state === 'dead' ? 'Dead' : task.state === 'cancelled' ? 'Cancelled' : 'Succeeded' });
  const now = clock.now();
  return h('ol', { class: 'timeline' }, ...moments.map(({ at, state, text }) => {
    const stamp = Date.parse(at);
    return h('li', { class: stamp > now ? 'ahead' : null, data: { state } }, icon(state), h('span', { text }), absoluteTime(stamp));
  }));
}

function outcome(attempt) {
  return attempt.ran_ms > 0 ? `${kindWord(attempt.kind)} after ${duration(attempt.ran_ms)}` : kindWord(attempt.kind);
}

function attempts(task) {
  const rows = [...task.attempts].reverse().map((attempt) => h('li', {},
    h('div', { class: 'attempt-head' }, h('b', { text: `Attempt ${attempt.attempt}` }), h('span', { class: 'muted', text: outcome(attempt), title: `${exact(attempt.ran_ms)} ms on worker ${attempt.worker}` }), h('span', { class: 'spacer' }), copyButton(() => attempt.message, 'the error')),
    h('pre', { class: 'error-text', tabindex: '0', text: attempt.message })));
  return h('ol', { class: 'attempts' }, ...rows);
}

function json(value, what) {
  const text = JSON.stringify(value, null, 2);
  const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}\n… ${exact(text.length - SHOWN_MAX)} more characters: copy to see them` : text;
  return h('div', { class: 'code' }, h('pre', { tabindex: '0', text: shown }), copyButton(() => text, what));
}
