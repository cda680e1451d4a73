// The rows of one state that have been read so far, in order. Read page by page as the reader scrolls.

// What one request brings, and where loading stops: who looks for the 50,001st task looks for it by its id.
export const PAGE = 200;
export const LOADED_MAX = 50_000;

export class TaskList {
  constructor(state) {
    this.state = state;
    this.rows = new Map();
    this.cursor = null;
    this.loaded = false;
    this.loading = false;
    this.error = null;
    this.cache = null;
    // Counts the times that the list began anew: a page asked for before belongs behind rows that are gone.
    this.beginnings = 0;
  }

  /** Whether all tasks of the state are here. */
  get complete() {
    return this.loaded && this.cursor === null;
  }

  /** Whether more can be read. */
  get hasMore() {
    return this.loaded && this.cursor !== null && this.rows.size < LOADED_MAX;
  }

  /** The rows as an array; the same one until something changes. */
  array() {
    this.cache ??= [...this.rows.values()];
    return this.cache;
  }

  /** An event's new task: known to be last where everything before it is known. */
  append(id, duration) {
    if (!this.complete || this.rows.size >= LOADED_MAX || this.rows.has(id)) return;
    this.rows.set(id, { id, duration });
    this.cache = null;
  }

  remove(id) {
    if (this.rows.delete(id)) this.cache = null;
  }

  /**
   * The first page, read again. What was loaded behind it stays where the new page still reaches it, unless `afresh`.
   * `gone(id)` says whether a task has left the state since.
   */
  setFirst(tasks, cursor, { afresh = false, gone = () => false } = {}) {
    const rows = new Map();
    for (const task of tasks) if (!gone(task.id)) rows.set(task.id, row(task));
    let rest = cursor ?? null;
    if (afresh) this.beginnings += 1;
    if (rest !== null && !afresh && tasks.length > 0) rest = this.keepBehind(rows, tasks.at(-1).id, rest);
    this.rows = rows;
    this.cursor = rest;
    this.loaded = true;
    this.error = null;
    this.cache = null;
  }

  keepBehind(rows, lastId, cursor) {
    let behind = false;
    let kept = false;
    for (const [id, old] of this.rows) {
      if (behind && !rows.has(id)) {
        rows.set(id, old);
        kept = true;
      }
      if (id === lastId) behind = true;
    }
    return kept ? this.cursor : cursor;
  }

  /** The next page, asked for when `beginnings` was so; one that the list no longer waits for is left out. */
  addPage(tasks, cursor, gone, beginnings) {
    if (beginnings !== this.beginnings) return;
    for (const task of tasks) if (!gone(task.id) && !this.rows.has(task.id)) this.rows.set(task.id, row(task));
    this.cursor = cursor ?? null;
    this.cache = null;
  }
}

// Payloads stay on the server: fifty thousand of them would fill the tab's memory.
function row(task) {
  return {
    id: task.id,
    type: task.type,
    duration: task.duration_ms,
    priority: task.priority,
    failures: task.failures,
    enqueued: stamp(task.enqueued_at),
    due: stamp(task.due_at),
    ended: stamp(task.ended_at),
  };
}

function stamp(text) {
  return text ? Date.parse(text) : undefined;
}
