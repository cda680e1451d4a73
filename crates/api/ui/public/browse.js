// The list of tasks by state: tabs, the virtual list, what is next, and finding a task by its id.

import { address } from './api.js';
import { byId, emptyState, h, icon, relativeTime, setText, setTime, stateMark } from './dom.js';
import { count, duration, exact } from './format.js';
import { LOADED_MAX, TaskList } from './tasklist.js';
import { VirtualList } from './virtual.js';

// As in app.css, which gives rows this height.
const ROW_HEIGHT = 40;

// The dead have a panel of their own, and so have the active.
const TABS = {
  pending: { time: 'Waits since', at: (task) => task.enqueued },
  delayed: { time: 'Due', at: (task) => task.due },
  retrying: { time: 'Next try', at: (task) => task.due },
  succeeded: { time: 'Ended', at: (task) => task.ended },
  cancelled: { time: 'Ended', at: (task) => task.ended },
};

// What to say of a state without tasks: a title, a sentence, and a command to paste.
const EMPTY = {
  pending: (post) => ['Nothing waits', 'Schedule two tasks with the form, or from a terminal:', post('schedule', '{"task123": 1000, "task456": 2500}')],
  delayed: (post) => ['Nothing is delayed', 'A task with a delay or a time of its own waits here until it is due:',
    post('enqueue', '{"type": "sleep", "payload": {"duration_ms": 1000}, "delay_ms": 60000}')],
  retrying: (post) => ['Nothing waits to be tried again', 'A task that failed and has retries left waits here:',
    post('enqueue', '{"type": "send_email", "retries": 3, "payload": {"to": "ada@example.com", "subject": "Hello"}}')],
  succeeded: (post) => ['Nothing succeeded yet', 'What ends well is kept here for a while. This takes a second:', post('schedule', '{"task123": 1000}')],
  cancelled: (post, queue) => ['Nothing was cancelled', 'Open a task that waits or runs to cancel it, or name it in a terminal:', `tidemill tasks cancel -q ${queue} task123`],
};

export class Browse {
  /** `onTab(state)` after another state was picked, `onMore()` near the end, `onOpen(id)` for a task. */
  constructor({ onTab, onMore, onOpen }) {
    this.onTab = onTab;
    this.onMore = onMore;
    this.onOpen = onOpen;
    this.model = null;
    this.list = new VirtualList(byId('list'), {
      rowHeight: ROW_HEIGHT,
      create: createRow,
      update: (row, task) => updateRow(row, task, this.model.list.state),
      onOpen,
      onNearEnd: () => this.onMore(),
    });
    this.drawTabs();
  }

  /** Whether the reader looks at rows that a fresh first page would not show. */
  deep(page) {
    return this.list.first() > page / 2;
  }

  attach(model) {
    this.model = model;
    this.list.reset();
    this.markTab(model.list.state);
  }

  pick(state) {
    if (this.model.list.state !== state) {
      this.model.list = new TaskList(state);
      this.list.reset();
      this.onTab(state);
    }
    this.markTab(state);
  }

  focusList() {
    byId('list').focus();
  }

  drawTabs() {
    const tabs = Object.keys(TABS).map((state) => h('button', {
      type: 'button', role: 'tab', id: `tab-${state}`, 'aria-controls': 'list', data: { state },
      on: { click: () => this.pick(state) },
    }, stateMark(state), h('span', { class: 'tab-count' })));
    byId('tabs').replaceChildren(...tabs);
    byId('tabs').addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = tabs.indexOf(document.activeElement);
      const to = tabs[(at + step + tabs.length) % tabs.length];
      to.focus();
      this.pick(to.dataset.state);
    });
  }

  markTab(state) {
    for (const tab of byId('tabs').children) {
      const chosen = tab.dataset.state === state;
      tab.setAttribute('aria-selected', String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    byId('list').setAttribute('aria-label', `Tasks that are ${state}`);
    byId('list-head').replaceChildren(
      h('span'), h('span', { text: 'Id' }), h('span', { class: 'c-type', text: 'Type' }),
      h('span', { class: 'c-duration', text: 'Duration' }), h('span', { class: 'c-priority', text: 'Priority' }),
      h('span', { class: 'c-time', text: TABS[state].time }),
    );
  }

  draw() {
    const { list, stats } = this.model;
    for (const tab of byId('tabs').children) {
      const value = stats?.[tab.dataset.state];
      setText(tab.lastChild, value === undefined ? '' : count(value));
      tab.title = value === undefined ? '' : `${exact(value)} ${tab.dataset.state}`;
    }
    const rows = list.array();
    const total = Math.max(stats?.[list.state] ?? 0, rows.length);
    this.list.show(rows, total, tailOf(list, total));
    this.drawEmpty(list, rows.length === 0);
    this.drawNext();
  }

  drawEmpty(list, empty) {
    const place = byId('list-empty');
    place.hidden = !(empty && list.loaded);
    const { queue } = this.model;
    const key = `${queue} ${list.state}`;
    if (place.hidden || place.dataset.key === key) return;
    place.dataset.key = key;
    const elsewhere = queue === document.documentElement.dataset.defaultQueue ? {} : { queue };
    const post = (path, body) => `curl '${address(path, elsewhere)}' -H 'Content-Type: application/json' -d '${body}'`;
    place.replaceChildren(emptyState(...EMPTY[list.state](post, queue)));
  }

  drawNext() {
    const place = byId('next');
    const { next, stats, workers } = this.model;
    const when = stats?.paused ? 'when the queue is resumed' : workers?.length === 0 ? 'once a worker serves the queue' : 'as soon as a worker is free';
    const key = `${next?.id ?? ''} ${next?.duration ?? ''} ${when}`;
    if (place.dataset.key === key) return;
    place.dataset.key = key;
    place.replaceChildren(h('span', { class: 'label', text: 'Next' }));
    if (!next) {
      place.append(h('span', { class: 'muted', text: 'nothing waits for a worker' }));
      return;
    }
    place.append(
      h('button', { type: 'button', class: 'id', text: next.id, title: next.id, on: { click: () => this.onOpen(next.id) } }),
      h('span', { class: 'muted figures-text', text: next.duration ? duration(next.duration) : '', title: next.duration ? `${exact(next.duration)} ms` : '' }),
      h('span', { class: 'spacer' }),
      h('span', { class: 'muted next-when', text: when }),
    );
  }
}

function tailOf(list, total) {
  if (list.error) return `${list.error.message} Scroll to try again.`;
  if (list.rows.size >= LOADED_MAX) return `The first ${exact(LOADED_MAX)} of ${exact(total)}. Find others by their ids.`;
  if (list.hasMore && total > list.rows.size) return `Reading on: ${exact(total - list.rows.size)} more`;
  return null;
}

function createRow() {
  return h('div', { class: 'task-row' }, icon('pending'), h('span', { class: 'id' }), h('span', { class: 'c-type' }),
    h('span', { class: 'c-duration' }), h('span', { class: 'c-priority' }), h('span', { class: 'c-time' }, relativeTime(null)));
}

function updateRow(row, task, state) {
  const [shape, id, type, length, priority, time] = row.children;
  row.dataset.state = state;
  shape.firstChild.setAttribute('href', `#i-${state}`);
  setText(id, task.id);
  id.title = task.id;
  setText(type, task.type ?? '');
  setText(length, task.duration ? duration(task.duration) : '');
  length.title = task.duration ? `${exact(task.duration)} ms` : '';
  setText(priority, task.priority ? String(task.priority) : '');
  setTime(time.firstChild, TABS[state].at(task));
}
