// What the page knows of one queue. Filled from the API by sync.js, moved on by events, drawn by the panels.

import { clock } from './dom.js';
import { TaskList } from './tasklist.js';

// Rows kept of what just ended, and of what runs. More would not be read, only slow the page down.
export const ENDED_MAX = 50;
export const ACTIVE_MAX = 500;
// The minute that the rate's curve shows, and the stretch that its figure averages over.
export const CURVE_MS = 60_000;
const RATE_MS = 5_000;
// Readings closer together than this say more about the clock than about the rate.
const SAMPLE_MS = 900;

export class Model {
  constructor(queue, frames) {
    this.queue = queue;
    this.frames = frames;
    this.stats = null;
    this.active = new Map();
    this.next = null;
    this.ended = [];
    this.endedLoaded = false;
    this.failed = [];
    this.failedCursor = null;
    this.failedLoaded = false;
    this.workers = null;
    this.broker = null;
    this.samples = [];
    this.lastEventAt = 0;
    this.list = new TaskList('pending');
    this.journal = new Journal();
  }

  /** One event of the stream. */
  apply(kind, value) {
    this.lastEventAt = Date.now();
    const tasks = (kind === 'scheduled' ? value : [value]).map((task) => Object.entries(task)[0]);
    for (const [id, duration] of tasks) {
      this.journal.note(id, kind);
      this[`on_${kind}`]?.(id, duration);
    }
    this.frames.mark('active', 'list', 'ended');
  }

  on_scheduled(id, duration) {
    if (this.list.state === 'pending') this.list.append(id, duration);
  }

  on_next(id, duration) {
    this.next = { id, duration };
  }

  on_start(id, duration) {
    if (this.next?.id === id) this.next = null;
    const type = this.list.rows.get(id)?.type;
    if (this.list.state === 'pending') this.list.remove(id);
    if (this.active.size < ACTIVE_MAX) this.active.set(id, { id, duration, type, started: clock.now() });
  }

  on_done(id, duration) {
    if (this.next?.id === id) this.next = null;
    if (this.list.state === 'pending') this.list.remove(id);
    const known = this.active.get(id);
    this.active.delete(id);
    this.ended = this.ended.filter((row) => row.id !== id);
    this.ended.unshift({ id, duration, type: known?.type, at: clock.now(), state: null, looked: 0 });
    this.ended.length = Math.min(this.ended.length, ENDED_MAX);
  }

  /** The queue's figures, as just read. Whether anything moved since they were read before. */
  setStats(stats) {
    const before = this.stats;
    this.stats = stats;
    const ended = stats.counters.succeeded + stats.counters.dead + stats.counters.cancelled;
    const now = Date.now();
    if (now - (this.samples.at(-1)?.at ?? 0) >= SAMPLE_MS) this.samples.push({ at: now, ended });
    while (this.samples.length > 2 && this.samples[1].at < now - CURVE_MS) this.samples.shift();
    if (stats.pending === 0) this.next = null;
    this.frames.mark('figures', 'list', 'active', 'failed');
    return !before || JSON.stringify(before.counters) !== JSON.stringify(stats.counters) || before.paused !== stats.paused;
  }

  /** Tasks that end in a second, over the last few. */
  rate() {
    const last = this.samples.at(-1);
    const first = this.samples.find((sample) => sample.at >= last?.at - RATE_MS - 500) ?? last;
    if (!last || last.at === first.at) return 0;
    return Math.max(0, (last.ended - first.ended) / ((last.at - first.at) / 1000));
  }

  /** The active tasks, as read since `mark` of the journal: later events know better. */
  setActive(tasks, mark) {
    const rows = new Map();
    for (const task of tasks) {
      if (this.journal.since(mark, task.id) === 'done') continue;
      rows.set(task.id, {
        id: task.id,
        duration: task.duration_ms,
        type: task.type,
        started: task.started_at ? Date.parse(task.started_at) : clock.now(),
        worker: task.worker,
        progress: task.progress,
        failures: task.failures,
      });
    }
    for (const [id, row] of this.active) {
      if (!rows.has(id) && this.journal.since(mark, id) === 'start') rows.set(id, row);
    }
    // Where a row stays, it stays in its place.
    const ordered = new Map();
    for (const id of this.active.keys()) if (rows.has(id)) ordered.set(id, rows.get(id));
    for (const [id, row] of rows) ordered.set(id, row);
    this.active = ordered;
    this.frames.mark('active');
  }

  /** What ended, as the API keeps it, with what only events know of so far. */
  setEnded(tasks) {
    const rows = new Map(tasks.map((task) => [task.id, {
      id: task.id, duration: task.duration_ms, type: task.type, state: task.state, at: Date.parse(task.ended_at),
    }]));
    for (const row of this.ended) {
      const kept = rows.get(row.id);
      if (!kept && (row.state === null || row.state === 'forgotten')) rows.set(row.id, { ...row, looked: (row.looked ?? 0) + 1 });
    }
    this.ended = [...rows.values()].sort((a, b) => b.at - a.at).slice(0, ENDED_MAX);
    this.endedLoaded = true;
    this.frames.mark('ended');
  }
}

/** What events said while a request was under way, so that its older answer doesn't undo them. */
class Journal {
  constructor() {
    this.open = 0;
    this.number = 0;
    this.entries = new Map();
  }

  begin() {
    this.open += 1;
    return this.number;
  }

  end() {
    this.open -= 1;
    if (this.open === 0) this.entries.clear();
  }

  note(id, kind) {
    this.number += 1;
    if (this.open > 0 && kind !== 'next') this.entries.set(id, { kind, number: this.number });
  }

  /** The last thing that happened to a task after `mark`, if any did. */
  since(mark, id) {
    const entry = this.entries.get(id);
    return entry && entry.number > mark ? entry.kind : null;
  }
}
