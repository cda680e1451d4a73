// What stands around the queue: the token dialog, the shortcuts, the theme, and short messages.

import { onUnauthorized } from './api.js';
import { byId, h, icon } from './dom.js';

const TOAST_MS = 5_000;
const THEMES = ['system', 'light', 'dark'];
const THEME_ICONS = { system: 'system', light: 'sun', dark: 'moon' };

let toastTimer = null;

/** A short message, also read aloud. `problem` ones stay longer. */
export function toast(text, { problem = false } = {}) {
  const place = byId('toast');
  place.replaceChildren(icon(problem ? 'dead' : 'succeeded'), h('span', { text }));
  place.classList.toggle('problem', problem);
  place.classList.add('shown');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => place.classList.remove('shown'), problem ? 2 * TOAST_MS : TOAST_MS);
}

/** Read aloud, not shown: what the eye sees elsewhere. */
export function announce(text) {
  byId('summary').textContent = text;
}

function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage it holds until the page is reloaded.
  }
}

/** The button that goes round system, light and dark. */
export function wireTheme() {
  const button = byId('theme');
  let theme = document.documentElement.dataset.theme ?? 'system';
  const draw = () => {
    button.replaceChildren(icon(THEME_ICONS[theme]));
    button.setAttribute('aria-label', `Theme: ${theme}`);
    button.title = `Theme: ${theme} (t)`;
  };
  const next = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    remember('tidemill.theme', theme);
    draw();
  };
  button.addEventListener('click', next);
  draw();
  return next;
}

/** Asks for a bearer token whenever a request is answered 401. */
export function wireToken() {
  const dialog = byId('token');
  const value = byId('token-value');
  byId('token-cancel').addEventListener('click', () => dialog.close(''));
  onUnauthorized((refused) => new Promise((resolve) => {
    if (refused) byId('token-why').textContent = 'That token was not accepted: it may have been replaced, or mistyped. Whoever installed this Tidemill knows where its tokens are kept.';
    value.value = '';
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'use' ? value.value.trim() : null), { once: true });
    if (!dialog.open) dialog.showModal();
    value.focus();
  }));
}

/** `actions` by key. They hold where no text is being written and no dialog is open. */
export function wireShortcuts(actions) {
  const help = byId('help');
  const on = byId('shortcuts-on');
  on.checked = remembered('tidemill.shortcuts') !== 'off';
  on.addEventListener('change', () => remember('tidemill.shortcuts', on.checked ? 'on' : 'off'));
  byId('show-help').addEventListener('click', () => help.showModal());
  byId('help-close').addEventListener('click', () => help.close());
  help.addEventListener('click', (event) => {
    if (event.target === help) help.close();
  });
  const all = { ...actions, '?': () => help.showModal() };
  document.addEventListener('keydown', (event) => {
    if (!on.checked || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest('input, textarea, select, [contenteditable]') || document.querySelector('dialog[open]')) return;
    const action = Object.hasOwn(all, event.key) ? all[event.key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  });
}
