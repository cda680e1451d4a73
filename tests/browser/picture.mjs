// Takes the picture of the page that the README shows: `make picture`.

import { fileURLToPath } from 'node:url';
import { openBrowser, startTidemill } from './driver.mjs';

const TARGET = fileURLToPath(new URL('../../docs/page.png', import.meta.url));
const WAITING = 240;
const DEADLINE_MS = 30_000;

const tidemill = await startTidemill();
const browser = await openBrowser();
try {
  const post = async (path, body) => {
    const answer = await fetch(tidemill.url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  };
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, deviceScaleFactor: 1 });
  const page = await context.newPage();
  await page.goto(tidemill.url);
  await page.waitForSelector('#connection[data-state=live]');
  await post('/enqueue', { id: 'invoice-77', type: 'send_email', payload: { to: 'not an address', subject: 'Invoice' } });
  await post('/enqueue', { id: 'nightly-report', type: 'sleep', delay_ms: 3_600_000, payload: { duration_ms: 5_000 } });
  const orders = Object.fromEntries(Array.from({ length: WAITING }, (_, n) => [`order-${48_210 + n}`, 300 + (n * 7_919) % 9_000]));
  await post('/schedule', orders);
  await page.waitForFunction(() => document.querySelectorAll('#ended .state-word').length >= 8, null, { timeout: DEADLINE_MS });
  await page.screenshot({ path: TARGET });
} finally {
  await browser.close();
  await tidemill.remove();
}
