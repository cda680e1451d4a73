// The event stream: one WebSocket that comes back by itself, and says where it stands.

import { address, socketProtocols, token } from './api.js';

// First wait after a loss; doubles up to the last. Full jitter, so that a restart isn't greeted by all pages at once.
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LAST_MS = 15_000;
// A handshake that hangs longer than this is given up.
const OPEN_TIMEOUT_MS = 10_000;
// "Events lost, reload": the server is fine, so there is nothing to wait for.
const CLOSE_RESTART = 1012;
// But who is told so again this soon can't keep up, and is better off reading less often.
const RELOAD_WAIT_MS = 200;
const RELOAD_AGAIN_MS = 10_000;
const RELOAD_AGAIN_WAIT_MS = 2_000;

/** `onState({ open, retryAt, reason })`, `onEvent(kind, value)`; both are called until `close()`. */
export class EventSocket {
  constructor(queue, { onState, onEvent }) {
    this.queue = queue;
    this.onState = onState;
    this.onEvent = onEvent;
    this.failures = 0;
    this.ended = false;
    this.connect();
  }

  /** Ends it for good. */
  close() {
    this.ended = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  /** Doesn't wait for the next attempt. */
  retryNow() {
    if (this.ended || !this.waiting) return;
    clearTimeout(this.timer);
    this.connect();
  }

  /** A reading has succeeded: where that took a new token, the stream wants it, too. */
  serverAnswers() {
    if (token() !== this.token) this.retryNow();
  }

  connect() {
    this.waiting = false;
    this.token = token();
    this.onState({ open: false, retryAt: null, reason: '' });
    const url = address('ws', { queue: this.queue });
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, socketProtocols());
    this.socket = socket;
    this.timer = setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
    socket.addEventListener('open', () => {
      if (this.ended) return;
      clearTimeout(this.timer);
      this.failures = 0;
      this.onState({ open: true, retryAt: null, reason: '' });
    });
    socket.addEventListener('message', ({ data }) => {
      if (!this.ended) this.receive(data);
    });
    socket.addEventListener('close', ({ code, reason }) => {
      clearTimeout(this.timer);
      if (!this.ended) this.wait(code, reason);
    });
  }

  receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    for (const [kind, value] of Object.entries(message)) this.onEvent(kind, value);
  }

  wait(code, reason) {
    const reload = code === CLOSE_RESTART;
    const delay = reload ? this.reloadDelay() : this.backoff();
    this.waiting = true;
    // Told to reload, nothing is lost: it is not shown as a loss unless the server can't be reached then.
    this.onState({ open: false, retryAt: reload ? null : Date.now() + delay, reason });
    this.timer = setTimeout(() => this.connect(), delay);
  }

  reloadDelay() {
    const again = Date.now() - (this.reloadedAt ?? -Infinity) < RELOAD_AGAIN_MS;
    this.reloadedAt = Date.now();
    return again ? RELOAD_AGAIN_WAIT_MS * (0.5 + Math.random() / 2) : RELOAD_WAIT_MS;
  }

  backoff() {
    const ceiling = Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    return BACKOFF_FIRST_MS / 2 + Math.random() * ceiling;
  }
}
