// What people do on the page: add tasks, watch them, see what failed and why.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openPage, post, shows, until } from './page.mjs';

let opened;
before(async () => { opened = await openPage(); });
after(() => opened?.close());

const addRow = async (page, id, duration) => {
  const row = page.locator('.schedule-row').last();
  await row.locator('.row-id').fill(id);
  await row.locator('.row-duration').fill(duration);
};

test('a task scheduled with the form runs before the reader\'s eyes and ends', async () => {
  const { page } = opened;
  await page.locator('.schedule-row').nth(1).getByRole('button').click();
  await addRow(page, 'seen-1', '2500');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await shows(page, '#active .active-row', 'seen-1');
  await until(page, () => Number(document.querySelector('#active [role=progressbar]')?.getAttribute('aria-valuenow')) > 20);
  await shows(page, '#ended .ended-row', /succeeded.*seen-1/);
  await until(page, () => !document.querySelector('#active .active-row'));
  await shows(page, '[data-figure=active] .value', '0');
});

test('tasks are scheduled in the order of the rows, also where ids look like numbers', async () => {
  const { page, tidemill } = opened;
  await post(tidemill, '/api/v1/queues/default/pause');
  await addRow(page, '20', '10');
  await page.getByRole('button', { name: 'One more' }).click();
  await addRow(page, '3', '10');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await until(page, () => [...document.querySelectorAll('#list .task-row:not([hidden]) .id')].map((id) => id.textContent).join() === '20,3');
  await shows(page, '#next', '20');
  await shows(page, '#next', 'when the queue is resumed');
  await page.getByRole('button', { name: 'Resume' }).click();
  await shows(page, '#ended', '20');
  await shows(page, '#ended', '3');
});

test('what the server refuses is said beside the row that it concerns, and nothing is scheduled', async () => {
  const { page } = opened;
  await addRow(page, 'fine', '10');
  await page.getByRole('button', { name: 'One more' }).click();
  await addRow(page, 'wrong', 'soon');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  const row = page.locator('.schedule-row').nth(1);
  await row.locator('.field-error:not(:empty)').waitFor();
  assert.equal(await row.locator('.row-duration').getAttribute('aria-invalid'), 'true');
  assert.equal(await page.locator('.schedule-row').nth(0).locator('.field-error').textContent(), '');
  assert.equal(await page.locator('#ended').getByText('fine', { exact: true }).count(), 0);
});

test('pasted JSON is scheduled, and its faults are listed with their places', async () => {
  const { page } = opened;
  await page.getByRole('button', { name: 'Paste JSON' }).click();
  await page.locator('#schedule-json').fill('{"pasted-1": 10, "pasted/2": -1}');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await shows(page, '#schedule-json-error li', 'pasted/2');
  await page.locator('#schedule-json').fill('{"pasted-1": 10, "pasted/2": 20}');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await shows(page, '#ended', 'pasted/2');
});

test('an e-mail is enqueued with the form', async () => {
  const { page } = opened;
  await page.getByRole('tab', { name: 'Enqueue' }).click();
  await page.locator('#enqueue-id').fill('mail-1');
  await page.getByRole('button', { name: 'Enqueue', exact: true }).click();
  await shows(page, '#ended .ended-row', /succeeded.*mail-1/);
});

test('an empty type, no payload and a wrong number are said beside their fields', async () => {
  const { page } = opened;
  await page.locator('#enqueue-type').fill('');
  await page.getByRole('button', { name: 'Enqueue', exact: true }).click();
  await shows(page, '#enqueue-type-error', 'task type is empty');
  await page.locator('#enqueue-type').fill('sleep');
  await page.locator('#enqueue-payload').fill('');
  await page.getByRole('button', { name: 'Enqueue', exact: true }).click();
  await shows(page, '#enqueue-payload-error', 'payload is empty');
  await page.locator('#enqueue-payload').fill('{"duration_ms": ');
  await page.getByRole('button', { name: 'Enqueue', exact: true }).click();
  await shows(page, '#enqueue-payload-error', 'not JSON');
  await page.locator('#enqueue-payload').fill('{"duration_ms": 10}');
  await page.locator('#enqueue-retries').fill('many');
  await page.getByRole('button', { name: 'Enqueue', exact: true }).click();
  await page.locator('#enqueue-retries-error:not(:empty)').waitFor();
  await page.locator('#enqueue-retries').fill('');
});

test('a dead task is shown with its reason, opened, retried and deleted', async () => {
  const { page, tidemill } = opened;
  await post(tidemill, '/enqueue', { id: 'odd-1', type: 'no_such_type', payload: { customer: 'Ada & sons' } });
  const row = page.locator('.failed-row[data-id="odd-1"]');
  await row.locator('.reason', { hasText: 'unsupported task' }).waitFor();
  const before = await row.getAttribute('data-key');
  await row.getByRole('button', { name: 'odd-1', exact: true }).click();
  await shows(page, '#drawer', 'Ada & sons');
  await shows(page, '#drawer .attempts', 'unsupported task');
  await page.locator('#drawer').getByRole('button', { name: 'Retry' }).click();
  // It dies again, later than before.
  await until(page, (key) => {
    const now = document.querySelector('.failed-row[data-id="odd-1"]')?.dataset.key;
    return now && now !== key;
  }, before);
  await page.keyboard.press('Escape');
  await page.locator('#drawer').waitFor({ state: 'hidden' });
  await row.getByRole('button', { name: /delete/i }).click();
  await row.getByRole('button', { name: 'Really delete odd-1' }).click();
  await row.waitFor({ state: 'detached' });
});

test('a running task is cancelled from its details', async () => {
  const { page, tidemill } = opened;
  await post(tidemill, '/schedule', { 'long-1': 600_000 });
  await page.locator('#active .active-row[data-id="long-1"] button.id').click();
  await page.locator('#drawer').getByRole('button', { name: 'Cancel the task' }).click();
  await shows(page, '#drawer .drawer-head', 'cancelled');
  await page.keyboard.press('Escape');
  await shows(page, '#ended .ended-row', /cancelled.*long-1/);
});

test('a task is found by its id, and one that is not there is said so', async () => {
  const { page } = opened;
  await page.locator('#find-id').fill('nowhere');
  await page.locator('#find-id').press('Enter');
  await shows(page, '#find-error', 'No task “nowhere”');
  await page.locator('#find-id').fill('mail-1');
  await page.locator('#find-id').press('Enter');
  await shows(page, '#drawer-title', 'mail-1');
  await page.keyboard.press('Escape');
});

test('a delayed task waits under its own tab', async () => {
  const { page, tidemill } = opened;
  await post(tidemill, '/enqueue', { id: 'later-1', type: 'sleep', payload: { duration_ms: 10 }, delay_ms: 3_600_000 });
  await shows(page, '[data-figure=delayed] .value', '1');
  await page.locator('#tab-delayed').click();
  await shows(page, '#list .task-row', /later-1.*in \d+ (min|h)/);
  await page.locator('#tab-pending').click();
});

test('times are told roughly, and to the millisecond in UTC on hover', async () => {
  const { page } = opened;
  const time = page.locator('#ended .ended-row time').first();
  assert.match(await time.textContent(), /^(now|\d+ (s|min) ago)$/);
  assert.match(await time.getAttribute('title'), /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \(UTC\)/);
});

test('another queue is picked, kept in the address, and gets what is scheduled then', async () => {
  const { page, tidemill } = opened;
  await post(tidemill, '/schedule?queue=mail', { 'elsewhere-0': 10 });
  await page.locator('#queue option[value=mail]').waitFor({ state: 'attached' });
  await page.locator('#queue').selectOption('mail');
  await shows(page, '#list .task-row', 'elsewhere-0');
  await shows(page, '#active', 'No worker serves this queue');
  await page.reload();
  await until(page, () => document.querySelector('#queue').value === 'mail');
  assert.match(page.url(), /queue=mail/);
  await page.locator('#queue').selectOption('default');
  await shows(page, '#ended', 'mail-1');
});

test('hostile ids and payloads are text, not markup', async () => {
  const { page, tidemill } = opened;
  const id = '<img src=x onerror="window.hacked=1">';
  await post(tidemill, '/enqueue', { id, type: 'no_such_type', payload: { note: '</pre><script>window.hacked=1</script>' } });
  const row = page.locator('.failed-row', { hasText: id });
  await row.locator('.reason', { hasText: 'unsupported task' }).waitFor();
  await row.locator('button.id').click();
  await shows(page, '#drawer', '<script>window.hacked=1</script>');
  assert.equal(await page.evaluate(() => window.hacked ?? document.querySelectorAll('main img, #drawer img, #drawer script').length), 0);
  await page.keyboard.press('Escape');
});

test('the page breaks none of its own rules', () => {
  assert.deepEqual(opened.faults, []);
});
