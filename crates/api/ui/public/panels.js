// The figures, what runs, what just ended and who works. Each function draws one part of the model.

import { byId, clock, emptyState, h, icon, relativeTime, rove, setStateMark, setText, setTime, stateMark, svg } from './dom.js';
import { count, duration, exact, rate, relative } from './format.js';
import { CURVE_MS } from './model.js';

// What is drawn of the running tasks; the figure says how many there are.
const ACTIVE_ROWS = 50;
const CURVE = { width: 240, height: 56, pad: 3 };

export function drawFigures(model) {
  const { stats } = model;
  if (!stats) return;
  const slots = (model.workers ?? []).reduce((sum, worker) => sum + worker.slots, 0);
  const subs = {
    pending: stats.oldest_pending_ms === undefined ? 'nothing waits' : `oldest ${duration(stats.oldest_pending_ms)}`,
    active: slots ? `of ${count(slots)} slots` : 'no worker',
    delayed: stats.delayed && stats.next_due_ms !== undefined ? `next ${relative(stats.next_due_ms, 0)}` : 'none due',
    retrying: `${count(stats.counters.retried)} retries so far`,
    dead: `${count(stats.counters.failed)} failed attempts`,
  };
  for (const figure of document.querySelectorAll('[data-figure]')) {
    const name = figure.dataset.figure;
    setText(figure.querySelector('.value'), count(stats[name]));
    figure.title = `${exact(stats[name])} ${name}`;
    setText(figure.querySelector('.sub'), subs[name]);
  }
  const perSecond = model.rate();
  setText(byId('rate'), rate(perSecond));
  byId('rate').title = `${perSecond.toFixed(2)} tasks ended per second, over the last five`;
  const ended = stats.counters.succeeded + stats.counters.dead + stats.counters.cancelled;
  setText(byId('rate-sub'), `${count(ended)} so far`);
  byId('rate-sub').title = `${exact(ended)} tasks ended so far`;
  drawCurve(model.samples);
}

function drawCurve(samples) {
  const last = samples.at(-1)?.at ?? 0;
  const points = [];
  for (let i = 1; i < samples.length; i += 1) {
    const seconds = (samples[i].at - samples[i - 1].at) / 1000;
    const value = seconds > 0 ? Math.max(0, (samples[i].ended - samples[i - 1].ended) / seconds) : 0;
    points.push([CURVE.width * (1 - (last - samples[i].at) / CURVE_MS), value]);
  }
  const top = Math.max(1, ...points.map(([, value]) => value));
  const base = CURVE.height - CURVE.pad;
  const line = points
    .filter(([x]) => x >= 0)
    .map(([x, value]) => `${x.toFixed(1)},${(base - (value / top) * (base - CURVE.pad)).toFixed(1)}`);
  const ground = svg('line', { class: 'curve-base', x1: 0, x2: CURVE.width, y1: base, y2: base });
  if (line.length < 2) return byId('curve').replaceChildren(ground);
  const first = line[0].split(',')[0];
  byId('curve').replaceChildren(
    ground,
    svg('polygon', { class: 'curve-area', points: `${first},${base} ${line.join(' ')} ${CURVE.width},${base}` }),
    svg('polyline', { class: 'curve-line', points: line.join(' ') }),
  );
}

export function drawActive(model, onOpen) {
  const list = byId('active');
  const rows = [...model.active.values()].slice(0, ACTIVE_ROWS);
  const total = Math.max(model.stats?.active ?? 0, model.active.size);
  setText(byId('active-tally'), total > rows.length && rows.length === ACTIVE_ROWS ? `the first ${rows.length} of ${count(total)}` : '');
  if (rows.length === 0) return drawIdle(list, model);
  list.classList.remove('is-empty');
  const known = new Map([...list.querySelectorAll(':scope > [data-id]')].map((row) => [row.dataset.id, row]));
  const wanted = rows.map((task) => {
    const row = known.get(task.id) ?? activeRow(task.id, onOpen);
    row.task = task;
    return row;
  });
  if (wanted.length !== list.children.length || wanted.some((row, i) => list.children[i] !== row)) {
    const focused = document.activeElement;
    list.replaceChildren(...wanted);
    if (focused?.isConnected && list.contains(focused)) focused.focus();
  }
  rove(list);
  tickActive();
}

function drawIdle(list, model) {
  const paused = model.stats?.paused ?? false;
  const workers = model.workers?.length ?? 1;
  const key = paused ? 'paused' : workers === 0 ? 'no worker' : 'idle';
  if (list.classList.contains('is-empty') && list.dataset.key === key) return;
  list.classList.add('is-empty');
  list.dataset.key = key;
  const said = {
    paused: ['The queue is paused', 'What ran goes on to its end; nothing new starts until the queue is resumed.', `tidemill queues resume ${model.queue}`],
    'no worker': noWorker(model),
    idle: ['Nothing runs', 'The workers are idle and take the next task at once.'],
  }[key];
  list.replaceChildren(h('li', {}, emptyState(...said)));
}

// The embedded store belongs to one process, so that no worker can join it.
function noWorker(model) {
  const title = 'No worker serves this queue';
  if (model.broker?.startsWith('sqlite')) {
    return [title, 'Tasks wait until one does. Standalone runs the tasks of one queue, which is named at its start:', `tidemill standalone --queue ${model.queue}`];
  }
  return [title, 'Tasks wait until one does. Start one:', `tidemill worker --queue ${model.queue}`];
}

function activeRow(id, onOpen) {
  return h('li', { class: 'active-row', data: { id } },
    icon('active'),
    h('button', { type: 'button', class: 'id', text: id, title: id, on: { click: () => onOpen(id) } }),
    h('span', { class: 'c-type' }),
    h('span', { class: 'c-elapsed' }),
    h('span', { class: 'track', role: 'progressbar', 'aria-label': id, 'aria-valuemin': '0', 'aria-valuemax': '100' }, h('span', { class: 'fill' })));
}

/** Moves the bars: called a few times a second while something runs. */
export function tickActive() {
  for (const row of byId('active').querySelectorAll('.active-row')) {
    const { task } = row;
    const [, , type, elapsedText, track] = row.children;
    const elapsed = Math.max(0, clock.now() - task.started);
    const share = task.duration > 0 ? Math.min(1, elapsed / task.duration) : task.progress ? task.progress.percent / 100 : null;
    setText(type, task.type ?? '');
    setText(elapsedText, wordsOf(task, elapsed));
    elapsedText.title = task.duration > 0 ? `${exact(Math.round(elapsed))} of ${exact(task.duration)} ms` : `${exact(Math.round(elapsed))} ms`;
    track.classList.toggle('indeterminate', share === null);
    track.firstChild.style.transform = `scaleX(${share === null ? 1 : share.toFixed(4)})`;
    if (share === null) track.removeAttribute('aria-valuenow');
    else track.setAttribute('aria-valuenow', String(Math.round(share * 100)));
  }
}

function wordsOf(task, elapsed) {
  if (task.duration > 0) return `${duration(Math.min(elapsed, task.duration))} of ${duration(task.duration)}`;
  if (!task.progress) return duration(elapsed);
  const said = task.progress.message ? `${task.progress.message} · ` : '';
  return `${said}${task.progress.percent} % · ${duration(elapsed)}`;
}

const UNSETTLED = { null: ['unknown', 'ended'], forgotten: ['unknown', 'ended'] };

export function drawEnded(model, onOpen) {
  const list = byId('ended');
  if (model.ended.length === 0) {
    if (!model.endedLoaded || list.classList.contains('is-empty')) return;
    list.classList.add('is-empty');
    list.replaceChildren(h('li', {}, emptyState('Nothing ended lately', 'Tasks appear here the moment they end, with how they ended.')));
    return;
  }
  if (list.classList.contains('is-empty')) {
    list.classList.remove('is-empty');
    list.replaceChildren();
  }
  while (list.children.length < model.ended.length) list.append(endedRow(onOpen));
  while (list.children.length > model.ended.length) list.lastChild.remove();
  model.ended.forEach((task, i) => {
    const row = list.children[i];
    const [mark, id, time] = row.children;
    const [state, word] = UNSETTLED[task.state] ?? [task.state, task.state];
    row.dataset.id = task.id;
    setStateMark(mark, state, word);
    mark.title = task.state === 'forgotten' ? 'Ended; how is no longer kept' : '';
    setText(id, task.id);
    id.title = task.id;
    setTime(time, task.at);
  });
  rove(list);
}

function endedRow(onOpen) {
  const row = h('li', { class: 'ended-row' }, stateMark('unknown', 'ended'),
    h('button', { type: 'button', class: 'id', on: { click: () => onOpen(row.dataset.id) } }), relativeTime(null));
  return row;
}

export function drawWorkers(model) {
  const { workers } = model;
  if (!workers) return;
  const list = byId('workers');
  setText(byId('workers-tally'), workers.length ? `${count(workers.length)}` : '');
  if (workers.length === 0) {
    list.replaceChildren(h('li', {}, emptyState(...noWorker(model))));
    return;
  }
  list.replaceChildren(...workers.slice(0, ACTIVE_ROWS).map(workerRow));
  if (workers.length > ACTIVE_ROWS) list.append(h('li', { class: 'muted', text: `and ${exact(workers.length - ACTIVE_ROWS)} more` }));
}

function workerRow(worker) {
  const lost = worker.lease_left_ms < 0;
  const meter = h('span', { class: 'track', role: 'meter', 'aria-label': 'slots in use', 'aria-valuemin': '0', 'aria-valuemax': String(worker.slots), 'aria-valuenow': String(worker.active) }, h('span', { class: 'fill' }));
  meter.firstChild.style.transform = `scaleX(${worker.slots ? Math.min(1, worker.active / worker.slots) : 0})`;
  return h('li', { class: 'worker-row', title: `${worker.id}\nversion ${worker.version}` },
    h('span', { class: 'worker-name', text: worker.name }),
    h('span', { class: 'figures-text', text: lost ? 'lost' : `${exact(worker.active)} of ${exact(worker.slots)} slots` }),
    meter,
    h('span', { class: 'muted worker-types', text: worker.types.join(', '), title: worker.types.join(', ') }));
}
