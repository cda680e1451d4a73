// A lost connection is seen, and what was missed is there when it is back.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openBrowser, startTidemill } from './driver.mjs';
import { DEADLINE_MS, connected, openPage, post, shows, until } from './page.mjs';

const open = [];
after(async () => { for (const end of open) await end(); });

test('after kill -9 the page says that the connection is lost, and reads everything anew when the server is back', async () => {
  const { tidemill, browser, page } = await openPage();
  open.push(() => browser.close());
  await post(tidemill, '/api/v1/queues/default/pause');
  await post(tidemill, '/schedule', { 'kept-1': 10 });
  await shows(page, '#list .task-row', 'kept-1');

  await tidemill.stop('SIGKILL');
  await connected(page, 'lost');
  await shows(page, '#banner', /Connection lost.*may be out of date/);
  await shows(page, '#summary', 'Connection lost');

  const again = await startTidemill({ port: tidemill.port, directory: tidemill.directory });
  open.push(() => again.remove());
  await post(again, '/schedule', { 'missed-1': 10 });
  await connected(page, 'live');
  await shows(page, '#list .task-row', 'missed-1');
  await shows(page, '#list .task-row', 'kept-1');
  await page.locator('#banner').waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Resume' }).click();
  await shows(page, '#ended .ended-row', /succeeded.*missed-1/);
});

test('told to reload, the page reads everything anew and does not call it a loss', async () => {
  const tidemill = await startTidemill();
  const browser = await openBrowser();
  open.push(() => browser.close(), () => tidemill.remove());
  const page = await browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const sockets = [];
  // The page's first stream is silent: what happens meanwhile it can only learn by reading.
  await page.routeWebSocket(/\/ws/, (socket) => {
    sockets.push(socket);
    if (sockets.length > 1) socket.connectToServer();
  });
  await page.goto(tidemill.url);
  await connected(page, 'live');
  await page.evaluate(() => {
    window.states = [];
    new MutationObserver(() => window.states.push(document.body.dataset.connection)).observe(document.body, { attributeFilter: ['data-connection'] });
  });
  await post(tidemill, '/api/v1/queues/default/pause');
  await post(tidemill, '/schedule', { 'unheard-1': 10 });
  await sockets[0].close({ code: 1012, reason: 'events lost, reload /tasks' });
  await shows(page, '#list .task-row', 'unheard-1');
  await connected(page, 'live');
  assert.equal(sockets.length, 2);
  assert.equal((await page.evaluate(() => window.states)).includes('lost'), false);
});

test('without a WebSocket the page reads every two seconds', async () => {
  const { tidemill, page, faults, close } = await openPage({ form: 'html' });
  open.push(close);
  assert.equal((await fetch(`${tidemill.url}/ws`)).status, 404);
  await post(tidemill, '/schedule', { 'polled-1': 6_000, 'polled-2': 10 });
  await shows(page, '#active .active-row', 'polled-1');
  await shows(page, '#ended .ended-row', /succeeded.*polled-2/);
  await shows(page, '#ended .ended-row', /succeeded.*polled-1/);
  await until(page, () => !document.querySelector('#active .active-row'));
  assert.deepEqual(faults, []);
});

test('where a token is needed the page asks for it, says when it was wrong, and then is live', async () => {
  const tidemill = await startTidemill({ environment: { TIDEMILL_AUTH__TOKENS: 'right-token' } });
  const browser = await openBrowser();
  open.push(() => browser.close(), () => tidemill.remove());
  const page = await browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(tidemill.url);
  const dialog = page.locator('#token');
  await dialog.waitFor();
  await page.locator('#token-value').fill('wrong-token');
  await page.keyboard.press('Enter');
  await shows(page, '#token-why', 'not accepted');
  await page.locator('#token-value').fill('right-token');
  await page.keyboard.press('Enter');
  await connected(page, 'live');
  await dialog.waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await shows(page, '#ended .ended-row', /succeeded.*task123/);
});
