// Figures for reading: rounded, with units; the exact value goes beside them on hover.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const exactNumber = new Intl.NumberFormat('en-GB');
const localTime = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

/** Whole numbers with thousands apart: 12,345. */
export function exact(value) {
  return exactNumber.format(value);
}

/** 999 · 1.2 k · 35 k · 1.2 M */
export function count(value) {
  if (value < 10_000) return exactNumber.format(Math.round(value));
  return scaled(value);
}

/** Tasks a second: 0 · 0.4 · 12 · 1.2 k. */
export function rate(value) {
  if (value <= 0) return '0';
  if (value < 10) return String(Number(value.toFixed(1)));
  if (value < 1000) return String(Math.round(value));
  return scaled(value);
}

function scaled(value) {
  for (const [size, unit] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (value >= size) {
      const short = value / size;
      return `${short < 10 ? short.toFixed(1) : Math.round(short)} ${unit}`;
    }
  }
  return String(Math.round(value));
}

/** 340 ms · 2.5 s · 3 min 20 s · 2 h 5 min · 3 d 4 h */
export function duration(ms) {
  const value = Math.max(0, ms);
  if (value < SECOND) return `${Math.round(value)} ms`;
  if (value < 10 * SECOND) return `${(value / SECOND).toFixed(1)} s`;
  if (value < MINUTE) return `${Math.floor(value / SECOND)} s`;
  if (value < HOUR) return two(value, MINUTE, 'min', SECOND, 's');
  if (value < DAY) return two(value, HOUR, 'h', MINUTE, 'min');
  return two(value, DAY, 'd', HOUR, 'h');
}

function two(value, large, largeUnit, small, smallUnit) {
  const first = Math.floor(value / large);
  const rest = Math.floor((value % large) / small);
  return rest > 0 ? `${first} ${largeUnit} ${rest} ${smallUnit}` : `${first} ${largeUnit}`;
}

/** One unit only, since the text beside it changes every second: 12 s · 3 min · 2 h. */
function rough(ms) {
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

/** 2 h ago · now · in 5 s. `at` may lie before or after `now`. */
export function relative(at, now) {
  const gone = now - at;
  if (gone >= SECOND) return `${rough(gone)} ago`;
  if (gone > -SECOND) return 'now';
  return `in ${rough(-gone + SECOND - 1)}`;
}

/** The reader's zone. */
export function local(at) {
  return localTime.format(at);
}

/** The reader's zone and UTC, for hover. */
export function precise(at) {
  return `${localTime.format(at)}\n${new Date(at).toISOString()} (UTC)`;
}
