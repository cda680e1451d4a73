// Scheduling and enqueueing. The server judges; its faults are shown beside the fields they concern.

import { ApiError, api } from './api.js';
import { busyWhile, byId, h, icon } from './dom.js';
import { exact } from './format.js';

// More faults than this are counted, not listed.
const FAULTS_SHOWN = 5;

// What a payload looks like, by type, until the reader has written one.
const SAMPLES = {
  send_email: '{\n  "to": "ada@example.com",\n  "subject": "The tide is in",\n  "text": "All boats afloat."\n}',
  sleep: '{\n  "duration_ms": 5000\n}',
};

/** `queue()` tells where to; `onDone(words)` hears of what was taken. */
export function wireForms({ queue, onDone }) {
  const schedule = new ScheduleForm(queue, onDone);
  const enqueue = new EnqueueForm(queue, onDone);
  const tabs = [byId('tab-schedule'), byId('tab-enqueue')];
  const show = (chosen) => {
    for (const tab of tabs) {
      const selected = tab === chosen;
      tab.setAttribute('aria-selected', String(selected));
      tab.tabIndex = selected ? 0 : -1;
      byId(tab.getAttribute('aria-controls')).hidden = !selected;
    }
  };
  for (const tab of tabs) {
    tab.addEventListener('click', () => show(tab));
    tab.addEventListener('keydown', (event) => {
      if (!['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
      event.preventDefault();
      const other = tabs[1 - tabs.indexOf(tab)];
      show(other);
      other.focus();
    });
  }
  return {
    showSchedule() {
      show(tabs[0]);
      schedule.focus();
    },
    showEnqueue() {
      show(tabs[1]);
      byId('enqueue-type').focus();
    },
    knowTypes: (types) => enqueue.knowTypes(types),
  };
}

class ScheduleForm {
  constructor(queue, onDone) {
    this.queue = queue;
    this.onDone = onDone;
    this.form = byId('schedule');
    this.rows = byId('schedule-rows');
    this.error = byId('schedule-error');
    this.json = byId('schedule-json');
    this.addRow('task123', '1000');
    this.addRow('task456', '2500');
    byId('schedule-add').addEventListener('click', () => this.addRow('', '').querySelector('input').focus());
    byId('schedule-mode').addEventListener('click', () => this.toggle());
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      busyWhile(this.form.querySelector('[type=submit]'), () => this.submit());
    });
  }

  get pasting() {
    return !byId('schedule-json-part').hidden;
  }

  focus() {
    (this.pasting ? this.json : this.rows.querySelector('input'))?.focus();
  }

  addRow(id, duration) {
    const number = (this.made = (this.made ?? 0) + 1);
    const errorId = `schedule-row-${number}-error`;
    const row = h('div', { class: 'schedule-row' },
      h('input', { class: 'row-id', 'aria-label': 'Id', 'aria-describedby': errorId, autocomplete: 'off', spellcheck: 'false', placeholder: 'task789' }),
      h('input', { class: 'row-duration', 'aria-label': 'Duration in milliseconds', 'aria-describedby': errorId, inputmode: 'numeric', autocomplete: 'off', placeholder: '1000' }),
      h('button', { type: 'button', class: 'button quiet square', 'aria-label': 'Remove this row', title: 'Remove this row', on: { click: () => this.removeRow(row) } }, icon('close')),
      h('div', { class: 'field-error', id: errorId }));
    [row.children[0].value, row.children[1].value] = [id, duration];
    this.rows.append(row);
    return row;
  }

  removeRow(row) {
    const near = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (this.rows.children.length === 0) this.addRow('', '');
    (near?.isConnected ? near : this.rows.firstChild).querySelector('input').focus();
  }

  toggle() {
    const paste = !this.pasting;
    if (paste) this.json.value = this.text(',\n  ', '{\n  ', '\n}');
    byId('schedule-json-part').hidden = !paste;
    byId('schedule-rows-part').hidden = paste;
    byId('schedule-mode').setAttribute('aria-pressed', String(paste));
    byId('schedule-mode').textContent = paste ? 'Back to rows' : 'Paste JSON';
    this.clear();
    this.focus();
  }

  // Written by hand, since a JavaScript object would put ids that look like numbers first and drop the first of two alike.
  text(between = ',', open = '{', close = '}') {
    const members = this.filled().map((row) => `${JSON.stringify(row.children[0].value)}: ${jsonNumber(row.children[1].value)}`);
    return open + members.join(between) + close;
  }

  filled() {
    return [...this.rows.children].filter((row) => row.children[0].value !== '' || row.children[1].value.trim() !== '');
  }

  clear() {
    this.error.replaceChildren();
    byId('schedule-json-error').replaceChildren();
    this.json.removeAttribute('aria-invalid');
    for (const row of this.rows.children) {
      row.lastChild.textContent = '';
      for (const input of row.querySelectorAll('input')) input.removeAttribute('aria-invalid');
    }
  }

  async submit() {
    this.clear();
    try {
      const { scheduled } = await api.schedule(this.queue(), this.pasting ? this.json.value : this.text());
      this.onDone(`${exact(scheduled.length)} ${scheduled.length === 1 ? 'task' : 'tasks'} scheduled`);
      this.startOver();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.show(error);
    }
  }

  startOver() {
    if (this.pasting) {
      this.json.value = '';
      this.json.focus();
      return;
    }
    this.rows.replaceChildren();
    this.addRow('', '').querySelector('input').focus();
  }

  show(error) {
    const rest = this.pasting ? error.errors : error.errors.filter((fault) => !this.showAtRow(fault));
    if (this.pasting && rest.length > 0) {
      this.json.setAttribute('aria-invalid', 'true');
      byId('schedule-json-error').replaceChildren(...faultList(rest));
    } else if (!this.pasting) {
      this.error.append(...faultList(rest));
    }
    const repeated = error.errors.some((fault) => fault.detail === error.message);
    this.error.prepend(h('p', { text: repeated ? 'Nothing was scheduled.' : error.message }));
    (this.form.querySelector('[aria-invalid=true]') ?? this.form.querySelector('input, textarea')).focus();
  }

  showAtRow({ pointer, detail }) {
    const [id] = segments(pointer);
    const rows = this.filled().filter((row) => row.children[0].value === id);
    if (id === undefined || rows.length === 0) return false;
    // Of an id that stands there twice it is the second one that is too many.
    const row = rows.at(-1);
    row.lastChild.textContent = detail;
    for (const input of row.querySelectorAll('input')) input.setAttribute('aria-invalid', 'true');
    return true;
  }
}

class EnqueueForm {
  constructor(queue, onDone) {
    this.queue = queue;
    this.onDone = onDone;
    this.form = byId('enqueue');
    this.error = byId('enqueue-error');
    this.payload = byId('enqueue-payload');
    this.type = byId('enqueue-type');
    this.payload.value = SAMPLES[this.type.value];
    this.type.addEventListener('input', () => this.suggest());
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      busyWhile(this.form.querySelector('[type=submit]'), () => this.submit());
    });
  }

  knowTypes(types) {
    const list = byId('types');
    if ([...list.children].map((option) => option.value).join() === types.join()) return;
    list.replaceChildren(...types.map((type) => h('option', { value: type })));
  }

  suggest() {
    const untouched = this.payload.value.trim() === '' || Object.values(SAMPLES).includes(this.payload.value);
    if (untouched && SAMPLES[this.type.value]) this.payload.value = SAMPLES[this.type.value];
  }

  fields() {
    return [...this.form.querySelectorAll('[data-member]')];
  }

  clear() {
    this.error.replaceChildren();
    for (const field of this.fields()) this.mark(field, '');
  }

  mark(field, text) {
    byId(`${field.id}-error`).textContent = text;
    if (text) field.setAttribute('aria-invalid', 'true');
    else field.removeAttribute('aria-invalid');
  }

  async submit() {
    this.clear();
    const wrong = notJson(this.payload.value);
    if (wrong) {
      this.mark(this.payload, wrong);
      this.payload.focus();
      return;
    }
    try {
      const { id, state } = await api.enqueue(this.queue(), this.text());
      this.onDone(`${this.type.value} enqueued as ${id}${state && state !== 'pending' ? `, ${state}` : ''}`);
      byId('enqueue-id').value = '';
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.show(error);
    }
  }

  text() {
    const members = [];
    for (const field of this.fields()) {
      const { member } = field.dataset;
      const value = field.value.trim();
      if (member === 'type') members.push(`"type": ${JSON.stringify(value)}`);
      else if (value === '') continue;
      else if (member === 'payload') members.push(`"payload": ${field.value}`);
      else if (member === 'id') members.push(`"id": ${JSON.stringify(field.value)}`);
      else members.push(`"${member}": ${jsonNumber(value)}`);
    }
    return `{${members.join(', ')}}`;
  }

  show(error) {
    const rest = error.errors.filter((fault) => {
      const [member] = segments(fault.pointer);
      const field = this.fields().find((candidate) => candidate.dataset.member === member?.toLowerCase());
      if (field) this.mark(field, fault.detail);
      return !field;
    });
    const beside = rest.length < error.errors.length;
    if (!beside || rest.length > 0) this.error.append(h('p', { text: error.message }), ...faultList(rest));
    (this.form.querySelector('[aria-invalid=true]') ?? this.type).focus();
  }
}

// A number is sent as one; anything else goes as the text it is, for the server to say what is wrong with it.
function jsonNumber(text) {
  const value = text.trim();
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(value) ? value : JSON.stringify(value);
}

function notJson(text) {
  if (text.trim() === '') return '';
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    const at = Number(/position (\d+)/.exec(error.message)?.[1] ?? NaN);
    const line = Number.isNaN(at) ? '' : ` in line ${text.slice(0, at).split('\n').length}`;
    return `This is not JSON: something is wrong${line}. A payload is an object such as {"to": "ada@example.com"}.`;
  }
}

// A JSON Pointer's segments (RFC 6901).
function segments(pointer) {
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) return [];
  return pointer.slice(1).split('/').map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function faultList(faults) {
  if (faults.length === 0) return [];
  const items = faults.slice(0, FAULTS_SHOWN).map(({ pointer, detail }) => h('li', {}, h('code', { text: segments(pointer).join(' › ') || 'body' }), h('span', { text: ` ${detail}` })));
  if (faults.length > FAULTS_SHOWN) items.push(h('li', { text: `and ${exact(faults.length - FAULTS_SHOWN)} more` }));
  return [h('ul', { class: 'faults' }, ...items)];
}
