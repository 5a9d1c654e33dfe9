// Runs before the first paint, so that a chosen theme doesn't flash in the other one's colours.
try {
  const theme = localStorage.getItem('outpost.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; then the system's preference holds.
}
