// For everyone: by keyboard alone, on a phone, in the dark.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openPage, post, shows, tasks, until } from './page.mjs';

const PHONE = { width: 375, height: 812 };
const DESK = { width: 1440, height: 900 };
const AA = 4.5;

let opened;
before(async () => {
  opened = await openPage({ context: { viewport: DESK, colorScheme: 'light' } });
  await post(opened.tidemill, '/enqueue', { id: 'odd-1', type: 'no_such_type', payload: {} });
  await post(opened.tidemill, '/api/v1/queues/default/pause');
  await post(opened.tidemill, '/schedule', tasks(`a-rather-long-name-${'x'.repeat(80)}`, 30, 1000));
  await shows(opened.page, '#list .task-row', 'a-rather-long-name');
  await shows(opened.page, '.reason', 'unsupported task');
});
after(() => opened?.close());

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());

test('the first Tab offers to skip to the queue, and focus is always visible', async () => {
  const { page } = opened;
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Skip to the queue');
  for (let i = 0; i < 12; i += 1) {
    await page.keyboard.press('Tab');
    const seen = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    });
    assert.ok(seen, `no outline on ${await focused(page)}`);
  }
});

test('a task is scheduled and opened by keyboard alone', async () => {
  const { page } = opened;
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('n');
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type('typed-1');
  await page.keyboard.press('Enter');
  await shows(page, '#toast', '2 tasks scheduled');
  await until(page, (title) => document.querySelector('[data-figure=pending]').title === title, '32 pending');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('l');
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await shows(page, '#drawer-title', 'typed-1');
  await page.keyboard.press('Escape');
  await page.locator('#drawer').waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'list');
});

test('the list tells screen readers where one stands', async () => {
  const { page } = opened;
  const row = page.locator('#list [aria-selected=true]');
  assert.equal(await row.getAttribute('aria-setsize'), '32');
  assert.equal(await row.getAttribute('aria-posinset'), '31');
  assert.equal(await page.locator('#list').getAttribute('aria-activedescendant'), await row.getAttribute('id'));
});

test('the shortcuts are listed under ?, and can be switched off', async () => {
  const { page } = opened;
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  await shows(page, '#help', 'find a task by its id');
  await page.locator('#shortcuts-on').uncheck();
  await page.keyboard.press('Escape');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  assert.equal(await page.locator('#help').isVisible(), false);
  await page.locator('#show-help').click();
  await page.locator('#shortcuts-on').check();
  await page.locator('#help-close').click();
});

test('every control has a name and every region a heading', async () => {
  const { page } = opened;
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select, textarea, a[href]')]
    .filter((control) => !control.textContent.trim() && !control.getAttribute('aria-label') && !control.labels?.length)
    .map((control) => control.outerHTML));
  assert.deepEqual(nameless, []);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll('main > section, .panel')]
    .filter((region) => !region.getAttribute('aria-label') && !document.getElementById(region.getAttribute('aria-labelledby'))?.textContent)
    .length);
  assert.equal(unnamed, 0);
});

for (const theme of ['light', 'dark']) {
  test(`text is readable in the ${theme}: at least ${AA} to 1`, async () => {
    const { page } = opened;
    await page.emulateMedia({ colorScheme: theme });
    const faint = await page.evaluate(tooFaint, AA);
    assert.deepEqual(faint, []);
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.panel')).backgroundColor), theme === 'dark' ? 'rgb(22, 27, 30)' : 'rgb(255, 255, 255)');
  });
}

test('the theme button changes the theme, and a reload keeps it', async () => {
  const { page } = opened;
  await page.emulateMedia({ colorScheme: 'light' });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme ?? 'system');
  while (await theme() !== 'dark') await page.locator('#theme').click();
  await page.reload();
  assert.equal(await theme(), 'dark');
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(14, 18, 20)');
  await page.locator('#theme').click();
  assert.equal(await theme(), 'system');
});

test('a phone shows everything without scrolling sideways', async () => {
  const { page } = opened;
  await page.setViewportSize(PHONE);
  await shows(page, '#list .task-row', 'a-rather-long-name');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width);
  const outside = await page.evaluate(() => [...document.querySelectorAll('main button, main input, header button, header select, header a')]
    .filter((control) => control.checkVisibility() && !control.closest('.tabs'))
    .filter((control) => control.getBoundingClientRect().right > innerWidth + 1 || control.getBoundingClientRect().left < 0)
    .map((control) => control.outerHTML));
  assert.deepEqual(outside, []);
  await page.locator('.failed-row button.id').first().click();
  await shows(page, '#drawer', 'unsupported task');
  assert.ok(await page.evaluate(() => document.querySelector('#drawer').getBoundingClientRect().width <= innerWidth));
  await page.keyboard.press('Escape');
  await page.setViewportSize(DESK);
});

/** In the page: every visible text whose contrast with the ground behind it is less than `least`. */
function tooFaint(least) {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0.99) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const speaks = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!speaks || !element.checkVisibility({ visibilityProperty: true }) || element.closest(':disabled')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least) faint.add(`${element.className || element.tagName}: ${contrast.toFixed(2)}`);
  }
  return [...faint];
}
