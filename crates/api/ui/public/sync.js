// Keeps the model true: reads everything at the start and after a reconnection, then what has changed.

import { ApiError, api } from './api.js';
import { clock } from './dom.js';
import { ENDED_MAX } from './model.js';
import { PAGE } from './tasklist.js';

// Reading the figures costs the server the same however long the queue is: each second while it moves, else rarely.
const BUSY_MS = 1_000;
const IDLE_MS = 5_000;
const POLL_MS = 2_000;
// After the last event or change the figures are read often for so long.
const CALM_AFTER_MS = 10_000;
// The first event after a quiet time is shown soon; those after it wait their turn.
const SOON_MS = 150;
const ACTIVE_EVERY_MS = 2_000;
const ENDED_EVERY_MS = 1_500;
const SLOW_EVERY_MS = 5_000;
// Outcomes that the lists don't hold are asked for one by one, a few at a time.
const SINGLE_LOOKUPS = 4;
const LOOKS_BEFORE_SINGLE = 2;
const FAILED_PAGE = 20;

export class Sync {
  /** `onHealth(error or null)` hears of each reading of the figures; `onSlow({ queues, info })` now and then. */
  constructor(model, { live, onHealth, onSlow, deepInList }) {
    this.model = model;
    this.live = live;
    this.onHealth = onHealth;
    this.onSlow = onSlow;
    this.deepInList = deepInList;
    this.ended = false;
    this.changedAt = Date.now();
    this.readAt = {};
    this.busy = new Set();
    this.stale = new Set(['active', 'list', 'ended', 'failed', 'slow']);
    this.plan(0);
  }

  /** Ends it for good. */
  close() {
    this.ended = true;
    clearTimeout(this.timer);
  }

  /** Everything is read again, now. */
  resync() {
    for (const part of ['active', 'list', 'ended', 'failed', 'slow']) this.stale.add(part);
    this.afresh = true;
    this.readAt = {};
    this.plan(0);
  }

  /** Something happened: look soon. */
  nudge() {
    this.changedAt = Date.now();
    const due = Math.max(Date.now() + SOON_MS, (this.readAt.stats ?? 0) + BUSY_MS);
    if (due < this.dueAt) this.plan(due - Date.now());
  }

  /** Someone acted: read all lists again at once. */
  acted() {
    for (const part of ['active', 'list', 'ended', 'failed']) this.stale.add(part);
    this.readAt = {};
    this.changedAt = Date.now();
    this.plan(0);
  }

  plan(delay) {
    if (this.ended) return;
    clearTimeout(this.timer);
    this.dueAt = Date.now() + delay;
    this.timer = setTimeout(() => this.round(), delay);
  }

  async round() {
    this.dueAt = Infinity;
    if (document.hidden) return this.plan(IDLE_MS);
    try {
      await this.readStats();
      this.report(null);
      await Promise.all([this.readActive(), this.readList(), this.readEnded(), this.readFailed(), this.readSlow()]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.report(error);
    } finally {
      if (this.dueAt === Infinity) this.plan(this.pause());
    }
  }

  report(error) {
    this.failing = error !== null;
    if (!this.ended) this.onHealth(error);
  }

  pause() {
    if (!this.live || this.failing) return POLL_MS;
    const moving = Date.now() - this.changedAt < CALM_AFTER_MS || this.model.active.size > 0;
    return moving ? BUSY_MS : IDLE_MS;
  }

  async readStats() {
    const stats = await api.queue(this.model.queue);
    if (this.ended) return;
    this.readAt.stats = Date.now();
    if (this.model.setStats(stats)) {
      this.changedAt = Date.now();
      for (const part of ['active', 'list', 'ended', 'failed']) this.stale.add(part);
    }
  }

  /** Runs `read` where it is wanted and not done too recently; never twice at once. */
  async part(name, everyMs, wanted, read) {
    const recently = Date.now() - (this.readAt[name] ?? 0) < everyMs;
    if (this.ended || !wanted || recently || this.busy.has(name)) return;
    this.busy.add(name);
    this.stale.delete(name);
    this.readAt[name] = Date.now();
    try {
      await read();
    } catch (error) {
      this.stale.add(name);
      throw error;
    } finally {
      this.busy.delete(name);
    }
  }

  readActive() {
    const { model } = this;
    const wanted = this.stale.has('active') || model.active.size > 0 || model.stats.active > 0;
    return this.part('active', this.live ? ACTIVE_EVERY_MS : 0, wanted, async () => {
      const mark = model.journal.begin();
      try {
        const { tasks } = await api.tasks(model.queue, { state: 'active', limit: 100 });
        model.setActive(tasks, mark);
      } finally {
        model.journal.end();
      }
    });
  }

  readList() {
    const { model } = this;
    const { list } = model;
    const drifted = list.complete && list.rows.size !== model.stats[list.state];
    const wanted = !list.loaded || this.afresh || ((this.stale.has('list') || drifted) && !this.deepInList());
    return this.part(`list ${list.state}`, list.loaded ? BUSY_MS : 0, wanted, async () => {
      this.stale.delete('list');
      const afresh = this.afresh || drifted;
      this.afresh = false;
      const mark = model.journal.begin();
      try {
        const { tasks, cursor } = await api.tasks(model.queue, { state: list.state, limit: PAGE });
        list.setFirst(tasks, cursor, { afresh, gone: (id) => this.leftList(list, mark, id) });
      } finally {
        model.journal.end();
      }
      if (list.state === 'pending') model.next = nextOf(list);
      model.frames.mark('list');
    });
  }

  /** The next page of the list that is shown. */
  async readMore() {
    const { model } = this;
    const { list } = model;
    if (list.loading || !list.hasMore) return;
    list.loading = true;
    const mark = model.journal.begin();
    const { beginnings } = list;
    try {
      const { tasks, cursor } = await api.tasks(model.queue, { state: list.state, limit: PAGE, cursor: list.cursor });
      list.addPage(tasks, cursor, (id) => this.leftList(list, mark, id), beginnings);
      list.error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      list.error = error;
    } finally {
      model.journal.end();
      list.loading = false;
      model.frames.mark('list');
    }
  }

  leftList(list, mark, id) {
    return list.state === 'pending' && ['start', 'done'].includes(this.model.journal.since(mark, id));
  }

  readEnded() {
    const { model } = this;
    const wanted = this.stale.has('ended') || model.ended.some((row) => row.state === null);
    return this.part('ended', this.live ? ENDED_EVERY_MS : 0, wanted, async () => {
      const pages = await Promise.all(['succeeded', 'dead', 'cancelled'].map(
        (state) => api.tasks(model.queue, { state, limit: ENDED_MAX }),
      ));
      model.setEnded(pages.flatMap(({ tasks }) => tasks));
      const unknown = model.ended.filter((row) => row.state === null && row.looked > LOOKS_BEFORE_SINGLE);
      await Promise.all(unknown.slice(0, SINGLE_LOOKUPS).map((row) => this.lookUp(row)));
    });
  }

  async lookUp(row) {
    try {
      const task = await api.task(this.model.queue, row.id);
      row.state = task.ended_at ? task.state : 'forgotten';
      row.type = task.type;
    } catch (error) {
      if (error.status !== 404) throw error;
      row.state = 'forgotten';
    }
    this.model.frames.mark('ended');
  }

  readFailed() {
    const { model } = this;
    return this.part('failed', BUSY_MS, this.stale.has('failed'), async () => {
      const limit = Math.max(FAILED_PAGE, Math.min(model.failed.length, 200));
      const { tasks, cursor } = await api.tasks(model.queue, { state: 'dead', limit });
      const before = new Map(model.failed.map((task) => [failureKey(task), task]));
      model.failed = tasks.map((task) => before.get(failureKey(task)) ?? task);
      model.failedCursor = cursor ?? null;
      model.failedLoaded = true;
      model.frames.mark('failed');
    });
  }

  /** More dead tasks, and what each died of. */
  async moreFailed() {
    const { model } = this;
    const { tasks, cursor } = await api.tasks(model.queue, { state: 'dead', limit: FAILED_PAGE, cursor: model.failedCursor });
    model.failed.push(...tasks.filter((task) => !model.failed.some((known) => known.id === task.id)));
    model.failedCursor = cursor ?? null;
    model.frames.mark('failed');
  }

  /** Lists leave errors out: fetches those of the dead tasks shown, a few at a time. */
  async readReasons() {
    const missing = this.model.failed.filter((task) => task.reason === undefined).slice(0, SINGLE_LOOKUPS);
    if (missing.length === 0 || this.busy.has('reasons')) return;
    this.busy.add('reasons');
    try {
      await Promise.all(missing.map(async (task) => {
        task.reason = await this.reasonOf(task.id);
      }));
    } finally {
      this.busy.delete('reasons');
    }
    this.model.frames.mark('failed');
  }

  async reasonOf(id) {
    try {
      const { attempts = [] } = await api.task(this.model.queue, id);
      return attempts.at(-1) ?? null;
    } catch (error) {
      if (error instanceof ApiError) return null;
      throw error;
    }
  }

  readSlow() {
    const { model } = this;
    return this.part('slow', SLOW_EVERY_MS, true, async () => {
      const asked = Date.now();
      const [{ workers }, { queues }, info] = await Promise.all([api.workers(model.queue), api.queues(), api.info()]);
      // Half of the way there and back is as near as one gets.
      clock.offset = Date.parse(info.now) - (asked + Date.now()) / 2;
      model.workers = workers;
      model.broker = info.broker;
      model.frames.mark('workers', 'active', 'list');
      if (!this.ended) this.onSlow({ queues, info });
    });
  }
}

function failureKey(task) {
  return `${task.id}\n${task.ended_at}`;
}

function nextOf(list) {
  const [first] = list.rows.values();
  return first ? { id: first.id, duration: first.duration, type: first.type } : null;
}
