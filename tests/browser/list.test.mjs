// Many tasks and many events: the page keeps a window of rows, and keeps answering.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openPage, post, shows, tasks, until } from './page.mjs';

const WAITING = 100_000;
const BATCH = 10_000;
// A page with everything in it has some 600 nodes; a hundred thousand rows would have a million.
const NODES_MAX = 2_000;

let opened;
before(async () => {
  opened = await openPage();
  await post(opened.tidemill, '/api/v1/queues/default/pause');
  for (let from = 1; from <= WAITING; from += BATCH) await post(opened.tidemill, '/schedule', tasks('wait', BATCH, 0, from));
});
after(() => opened?.close());

const nodes = (page) => page.evaluate(() => document.querySelectorAll('*').length);

test('a hundred thousand waiting tasks are counted exactly and drawn as a window', async () => {
  const { page } = opened;
  await until(page, (title) => document.querySelector('[data-figure=pending]').title === title, '100,000 pending');
  await shows(page, '#list .task-row', 'wait-1');
  assert.ok(await nodes(page) < NODES_MAX);
});

test('scrolling reads on, page by page, and the window stays small', async () => {
  const { page } = opened;
  // Tasks that came as events stand in the list until it is seen that they are not all, and it begins anew with its first page.
  await until(page, (much) => document.querySelector('#list').scrollHeight < much, 1_000 * 40);
  const before = await page.evaluate(() => document.querySelector('#list').scrollHeight);
  // On a busy machine the socket may lag and the list begin anew meanwhile: a reader just scrolls on.
  await until(page, (enough) => {
    const list = document.querySelector('#list');
    list.scrollTop = 1e9;
    return list.scrollHeight > enough;
  }, before + 10 * 150 * 40);
  await page.evaluate(() => { document.querySelector('#list').scrollTop = 1000 * 40; });
  await shows(page, '#list .task-row:not([hidden])', 'wait-1001');
  assert.ok(await nodes(page) < NODES_MAX);
});

test('what the reader looks at stays where it is while tasks come', async () => {
  const { page, tidemill } = opened;
  const top = await page.evaluate(() => document.querySelector('#list').scrollTop);
  await post(tidemill, '/schedule', tasks('more', 100, 0));
  await until(page, (title) => document.querySelector('[data-figure=pending]').title === title, '100,100 pending');
  assert.equal(await page.evaluate(() => document.querySelector('#list').scrollTop), top);
});

test('the page answers while ten thousands of events come in', async () => {
  const { page, tidemill } = opened;
  await page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      window.longest = Math.max(window.longest, now - last);
      last = now;
    }, 20);
  });
  await post(tidemill, '/api/v1/queues/default/resume');
  await until(page, () => Number(document.querySelector('#rate-sub').title.replace(/\D/g, '')) > 10_000);
  await page.locator('#tab-succeeded').click();
  await shows(page, '#list .task-row', /(wait|more)-/);
  // The server and the tests share the processors with it, hence the generous bound; a frozen page takes much longer.
  assert.ok(await page.evaluate(() => window.longest) < 2_000, 'the page was frozen');
  assert.ok(await nodes(page) < NODES_MAX);
  assert.deepEqual(opened.faults, []);
});
