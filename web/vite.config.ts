import { defineConfig } from 'vitest/config';

/**
 * Every URL in the output is relative: the page is served from `<base path>/static/`, and the base path is only known
 * where it runs.
 */
export default defineConfig({
  base: './',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: 'app.html' },
  },
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
});
