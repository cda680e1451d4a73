// Runs before the first paint, so that a chosen theme never flashes as the other one.
// 'system' (no attribute) follows prefers-color-scheme.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('tidemill.theme');
  } catch {
    // Storage is switched off: the system's theme it is.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
