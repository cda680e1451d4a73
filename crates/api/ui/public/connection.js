// Whether what the page shows is live: from the event stream and the readings together, one word and one banner.

import { byId, setText } from './dom.js';
import { announce } from './dialogs.js';

// A reading that fails once may be chance; the stream's loss is not.
const WORDS = { connecting: 'Connecting', live: 'Live', polling: 'Every 2 s', lost: 'Offline', away: 'Store away' };

export class Connection {
  constructor(live, onRetry) {
    this.live = live;
    this.socket = { open: false, retryAt: null, reason: '' };
    this.error = null;
    this.seen = false;
    this.state = 'connecting';
    this.timer = null;
    byId('banner-retry').addEventListener('click', onRetry);
    this.draw();
  }

  /** Where the event stream stands. */
  setSocket(socket) {
    this.socket = socket;
    this.draw();
  }

  /** What the last reading said: null or an ApiError. */
  setHealth(error) {
    this.error = error;
    if (!error) this.seen = true;
    this.draw();
  }

  judge() {
    if (this.error?.unreachable) return 'lost';
    if (this.error) return 'away';
    if (!this.live) return this.seen ? 'polling' : 'connecting';
    if (this.socket.open) return this.seen ? 'live' : 'connecting';
    if (this.socket.retryAt !== null || this.state === 'lost') return 'lost';
    return 'connecting';
  }

  draw() {
    const state = this.judge();
    const before = this.state;
    this.state = state;
    byId('connection').dataset.state = state;
    document.body.dataset.connection = state;
    setText(byId('connection-word'), WORDS[state]);
    const trouble = state === 'lost' || state === 'away';
    byId('banner').hidden = !trouble;
    clearInterval(this.timer);
    if (trouble) {
      this.drawBanner(state);
      this.timer = setInterval(() => this.drawBanner(state), 1000);
    }
    if (state === before) return;
    if (trouble) announce(byId('banner').innerText);
    else if (before === 'lost' || before === 'away') announce('Connected again; everything was read anew.');
  }

  drawBanner(state) {
    setText(byId('banner-title'), state === 'away' ? 'The server answers, but not with the queue.' : 'Connection lost.');
    const wait = this.socket.retryAt === null ? 0 : Math.ceil((this.socket.retryAt - Date.now()) / 1000);
    const when = this.live && !this.socket.open && wait > 0 ? `Trying again in ${wait}\u00a0s.` : 'Trying again now and then.';
    const why = this.error?.message ?? (this.socket.reason ? `The server said: ${this.socket.reason}.` : 'The stream of events ended.');
    setText(byId('banner-text'), `What you see may be out of date. ${why} ${when}`);
  }
}
