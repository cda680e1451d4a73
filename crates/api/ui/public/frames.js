// Ten thousand events a second become a few drawings: what changed is marked, and drawn with the next frame,
// each part no more often than an eye can follow.

export class Frames {
  constructor() {
    this.parts = new Map();
    this.dirty = new Set();
    this.frame = null;
    this.timer = null;
  }

  /** `draw` is called after `mark(name)`, at most once in `everyMs`. */
  register(name, draw, everyMs = 0) {
    this.parts.set(name, { draw, everyMs, last: -Infinity });
  }

  /** Something that these parts show has changed. */
  mark(...names) {
    for (const name of names) this.dirty.add(name);
    if (this.frame === null) this.frame = requestAnimationFrame((now) => this.flush(now));
  }

  flush(now) {
    this.frame = null;
    let wait = Infinity;
    for (const name of [...this.dirty]) {
      const part = this.parts.get(name);
      const due = part.last + part.everyMs;
      if (now < due) {
        wait = Math.min(wait, due - now);
        continue;
      }
      this.dirty.delete(name);
      part.last = now;
      part.draw();
    }
    if (wait < Infinity && this.timer === null) {
      this.timer = setTimeout(() => {
        this.timer = null;
        this.mark();
      }, wait);
    }
  }
}
