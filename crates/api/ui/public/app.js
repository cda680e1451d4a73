// The page: one queue at a time, its model, what keeps the model true, and the panels that draw it.

import { ApiError, api, askAgain } from './api.js';
import { Browse } from './browse.js';
import { Connection } from './connection.js';
import { announce, toast, wireShortcuts, wireTheme, wireToken } from './dialogs.js';
import { byId, h, setText, tickTimes } from './dom.js';
import { Drawer } from './drawer.js';
import { drawFailed } from './failed.js';
import { wireForms } from './forms.js';
import { Frames } from './frames.js';
import { Model } from './model.js';
import { drawActive, drawEnded, drawFigures, drawWorkers, tickActive } from './panels.js';
import { EventSocket } from './socket.js';
import { Sync } from './sync.js';
import { PAGE } from './tasklist.js';

// Lists move at most so often, however fast tasks come and go.
const LIST_EVERY_MS = 200;
// Progress bars move in steps; the style sheet makes the steps smooth.
const BARS_EVERY_MS = 200;
const CALM_BARS_EVERY_MS = 1_000;

const page = document.documentElement.dataset;
const live = page.live === 'true';
const frames = new Frames();
let model = null;
let sync = null;
let socket = null;

const connection = new Connection(live, () => {
  askAgain();
  socket?.retryNow();
  sync.resync();
});
const drawer = new Drawer({ act, onClose: () => {} });
const open = (id) => drawer.open(model.queue, id);
const browse = new Browse({ onTab: () => sync.acted(), onMore: () => sync.readMore(), onOpen: open });
const forms = wireForms({
  queue: () => model.queue,
  onDone(words) {
    toast(words);
    sync.acted();
  },
});

const DONE_WORDS = { retry: 'is pending again', remove: 'was deleted' };

/** Does something with a task, says what came of it, and tells whether it worked. */
async function act(name, id) {
  try {
    const answer = await api[name](model.queue, id);
    const words = name === 'cancel' ? cancelWords(answer.state) : DONE_WORDS[name];
    toast(`${id} ${words}`);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, { problem: true });
    return false;
  } finally {
    sync.acted();
  }
}

function cancelWords(state) {
  return state === 'active' ? 'runs; its worker was asked to stop' : 'was cancelled';
}

async function togglePause() {
  if (!model.stats) return;
  const paused = !model.stats.paused;
  try {
    await (paused ? api.pause : api.resume)(model.queue);
    toast(paused ? 'Paused: what runs goes on, nothing new starts' : 'Resumed');
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, { problem: true });
  }
  sync.acted();
}

function drawPause() {
  const paused = model.stats?.paused ?? false;
  const button = byId('pause');
  button.disabled = !model.stats;
  button.setAttribute('aria-pressed', String(paused));
  button.querySelector('use').setAttribute('href', paused ? '#i-active' : '#i-pause');
  setText(button.querySelector('span'), paused ? 'Resume' : 'Pause');
  document.body.classList.toggle('paused', paused);
  document.title = `${paused ? 'Paused · ' : ''}${model.queue} · Tidemill`;
}

function drawQueues(queues) {
  const select = byId('queue');
  const names = [...new Set([...queues.map((queue) => queue.name), model.queue])];
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => h('option', { value: name, text: name })));
  }
  select.value = model.queue;
}

/** Shows a queue, from scratch. */
function show(queue) {
  socket?.close();
  sync?.close();
  drawer.close();
  model = new Model(queue, frames);
  browse.attach(model);
  drawQueues([]);
  sync = new Sync(model, {
    live,
    onHealth(error) {
      connection.setHealth(error);
      if (!error) socket?.serverAnswers();
    },
    onSlow({ queues, info }) {
      drawQueues(queues);
      setText(byId('broker'), info.broker);
      forms.knowTypes([...new Set(model.workers.flatMap((worker) => worker.types))].sort());
    },
    deepInList: () => browse.deep(PAGE),
  });
  if (live) socket = openSocket(queue);
  for (const list of ['active', 'ended', 'failed', 'workers']) {
    byId(list).classList.remove('is-empty');
    byId(list).replaceChildren();
  }
  frames.mark('figures', 'active', 'list', 'ended', 'failed', 'workers');
}

function openSocket(queue) {
  const mine = model;
  return new EventSocket(queue, {
    onState(state) {
      if (mine !== model) return;
      connection.setSocket(state);
      // Whatever happened while nobody listened is read now.
      if (state.open) sync.resync();
    },
    onEvent(kind, value) {
      if (mine !== model) return;
      model.apply(kind, value);
      sync.nudge();
    },
  });
}

function wireDrawing() {
  frames.register('figures', () => {
    drawFigures(model);
    drawPause();
  });
  frames.register('active', () => drawActive(model, open), LIST_EVERY_MS);
  frames.register('list', () => browse.draw(), LIST_EVERY_MS);
  frames.register('ended', () => drawEnded(model, open), LIST_EVERY_MS);
  frames.register('workers', () => drawWorkers(model));
  frames.register('failed', () => {
    drawFailed(model, { onOpen: open, onRetry: (id) => act('retry', id), onDelete: (id) => act('remove', id) });
    sync.readReasons();
  }, LIST_EVERY_MS);
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  setInterval(() => {
    if (model.active.size > 0 && !document.hidden && connection.state !== 'lost') tickActive();
  }, calm ? CALM_BARS_EVERY_MS : BARS_EVERY_MS);
  setInterval(tickTimes, 1000);
}

function wireHeader() {
  byId('pause').addEventListener('click', togglePause);
  byId('queue').addEventListener('change', ({ target }) => {
    const url = new URL(location.href);
    url.searchParams.set('queue', target.value);
    history.replaceState(null, '', url);
    show(target.value);
    announce(`Queue ${target.value}`);
  });
  byId('go-add').addEventListener('click', (event) => {
    event.preventDefault();
    byId('add').scrollIntoView({ block: 'nearest' });
    forms.showSchedule();
  });
  for (const figure of document.querySelectorAll('[data-figure]')) {
    figure.addEventListener('click', () => goTo(figure.dataset.figure));
  }
  byId('failed-more').addEventListener('click', async () => {
    try {
      await sync.moreFailed();
    } catch (error) {
      toast(error.message, { problem: true });
    }
  });
}

function goTo(state) {
  const panel = { active: 'active-panel', dead: 'failed-panel' }[state];
  if (panel) {
    byId(panel).scrollIntoView({ block: 'nearest' });
    byId(panel).focus({ preventScroll: true });
    return;
  }
  browse.pick(state);
  byId('tasks-panel').scrollIntoView({ block: 'nearest' });
  browse.focusList();
}

function wireFind() {
  byId('find').addEventListener('submit', async (event) => {
    event.preventDefault();
    const id = byId('find-id').value;
    setText(byId('find-error'), '');
    if (id === '') return;
    try {
      await api.task(model.queue, id);
      open(id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const gone = `No task “${id}” in queue ${model.queue}. It never came, was deleted, or ended so long ago that it is no longer kept.`;
      setText(byId('find-error'), error.status === 404 ? gone : error.message);
    }
  });
  byId('find-id').addEventListener('input', () => setText(byId('find-error'), ''));
}

wireToken();
wireDrawing();
wireHeader();
wireFind();
wireShortcuts({
  n: () => forms.showSchedule(),
  e: () => forms.showEnqueue(),
  '/': () => byId('find-id').focus(),
  l: () => browse.focusList(),
  p: togglePause,
  t: wireTheme(),
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) sync.acted();
});
show(new URLSearchParams(location.search).get('queue') || page.defaultQueue);
