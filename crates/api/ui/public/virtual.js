// A list of any length of which only the rows in sight exist. One stop for the Tab key; arrows move within it.

// Rows drawn beyond the edge, so that scrolling shows no gap.
const OVERSCAN = 6;
// This close to the end of what is loaded, more is asked for.
const NEAR_END = 60;

export class VirtualList {
  /**
   * `viewport` scrolls and holds a sizer with a tail in it. `create()` builds a row, `update(row, item, index)` fills it.
   */
  constructor(viewport, { rowHeight, create, update, onOpen, onNearEnd }) {
    Object.assign(this, { viewport, rowHeight, create, update, onOpen, onNearEnd });
    this.sizer = viewport.querySelector('.sizer');
    this.tail = viewport.querySelector('.tail');
    this.items = [];
    this.total = 0;
    this.pool = [];
    this.current = null;
    viewport.addEventListener('scroll', () => this.draw(), { passive: true });
    viewport.addEventListener('keydown', (event) => this.key(event));
    viewport.addEventListener('focus', () => this.select(this.current ?? this.items[this.first()]?.id));
    new ResizeObserver(() => this.draw()).observe(viewport);
  }

  /** Shows other items; what the reader looks at stays where it is. `total` counts those not loaded, too. */
  show(items, total, tail) {
    const anchor = this.viewport.scrollTop > 0 ? this.items[this.first()] : null;
    const offset = this.viewport.scrollTop % this.rowHeight;
    const moved = items !== this.items;
    this.items = items;
    this.total = total;
    this.tail.hidden = !tail;
    this.tail.textContent = tail ?? '';
    const tailRows = tail ? 1 : 0;
    this.sizer.style.height = `${(items.length + tailRows) * this.rowHeight}px`;
    this.tail.style.transform = `translateY(${items.length * this.rowHeight}px)`;
    if (anchor && moved) this.keep(anchor, offset);
    this.draw();
  }

  keep(anchor, offset) {
    const index = this.items.findIndex((item) => item.id === anchor.id);
    if (index >= 0) this.viewport.scrollTop = index * this.rowHeight + offset;
  }

  /** The first row in sight. */
  first() {
    return Math.floor(this.viewport.scrollTop / this.rowHeight);
  }

  /** Back to the top. */
  reset() {
    this.viewport.scrollTop = 0;
    this.current = null;
  }

  draw() {
    const visible = Math.ceil(this.viewport.clientHeight / this.rowHeight) + 1;
    const from = Math.max(0, this.first() - OVERSCAN);
    const to = Math.min(this.items.length, this.first() + visible + OVERSCAN);
    const wanted = Math.max(to - from, 0);
    while (this.pool.length < wanted) this.pool.push(this.add());
    while (this.pool.length > visible + 2 * OVERSCAN) this.pool.pop().remove();
    const used = new Set();
    for (let index = from; index < to; index += 1) used.add(this.place(index));
    for (const row of this.pool) row.hidden = !used.has(row);
    this.markCurrent();
    if (this.items.length - to < NEAR_END && this.total > this.items.length) this.onNearEnd();
  }

  add() {
    const row = this.create();
    row.setAttribute('role', 'option');
    row.addEventListener('click', () => {
      this.select(row.dataset.id);
      this.onOpen(row.dataset.id);
    });
    this.sizer.append(row);
    return row;
  }

  place(index) {
    const slot = index % this.pool.length;
    const row = this.pool[slot];
    const item = this.items[index];
    row.id = `${this.viewport.id}-row-${slot}`;
    row.dataset.id = item.id;
    row.style.transform = `translateY(${index * this.rowHeight}px)`;
    row.setAttribute('aria-setsize', String(this.total));
    row.setAttribute('aria-posinset', String(index + 1));
    this.update(row, item, index);
    return row;
  }

  markCurrent() {
    let active = null;
    for (const row of this.pool) {
      const chosen = !row.hidden && row.dataset.id === this.current;
      row.setAttribute('aria-selected', String(chosen));
      if (chosen) active = row;
    }
    if (active) this.viewport.setAttribute('aria-activedescendant', active.id);
    else this.viewport.removeAttribute('aria-activedescendant');
  }

  select(id) {
    this.current = id ?? null;
    this.markCurrent();
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.viewport.clientHeight / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.altKey || event.ctrlKey || event.metaKey || this.items.length === 0) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      if (this.current) this.onOpen(this.current);
    } else if (event.key in steps) {
      event.preventDefault();
      this.move(steps[event.key]);
    }
  }

  move(step) {
    const at = this.items.findIndex((item) => item.id === this.current);
    const from = at >= 0 ? at : this.first() - Math.sign(step);
    const index = Math.min(this.items.length - 1, Math.max(0, from + step));
    this.current = this.items[index].id;
    const top = index * this.rowHeight;
    const { scrollTop, clientHeight } = this.viewport;
    if (top < scrollTop) this.viewport.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight) this.viewport.scrollTop = top + this.rowHeight - clientHeight;
    this.draw();
  }
}
