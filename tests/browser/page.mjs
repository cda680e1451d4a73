// A page on a Tidemill of its own, what tests do with both, and conditions with deadlines.

import { openBrowser, startTidemill } from './driver.mjs';

// Whatever a person would wait for on a busy machine; conditions, not times, end the waits.
export const DEADLINE_MS = 20_000;

/** Starts everything; `close()` ends it. `context` are Playwright's options of a browser context. */
export async function openPage({ form, environment, context = {}, query = '' } = {}) {
  const tidemill = await startTidemill({ form, environment });
  const browser = await openBrowser();
  const page = await (await browser.newContext(context)).newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
  });
  await page.goto(tidemill.url + query);
  await connected(page, form === 'html' ? 'polling' : 'live');
  return {
    tidemill, browser, page, faults,
    async close() {
      await browser.close();
      await tidemill.remove();
    },
  };
}

/** Waits until the page says that its connection is so: live, polling, lost, … */
export function connected(page, state) {
  return page.locator(`#connection[data-state="${state}"]`).waitFor();
}

/** Waits until `condition`, evaluated in the page with `argument`, holds. */
export function until(page, condition, argument) {
  return page.waitForFunction(condition, argument, { timeout: DEADLINE_MS });
}

/** Waits until the element's text is, or matches, `text`. */
export function shows(page, selector, text) {
  return page.locator(selector).filter({ hasText: text }).first().waitFor();
}

/** Sends JSON as any client would, and fails unless it is taken. */
export async function post(tidemill, path, body) {
  const response = await fetch(tidemill.url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** `count` tasks named `prefix-1`, `prefix-2`, … of one duration, as the body of `/schedule`. */
export function tasks(prefix, count, duration, from = 1) {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}-${from + i}`, duration]));
}
