import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['node_modules/', '.run/'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
    },
  },
  // Code inside page.evaluate() runs in the browser.
  { files: ['e2e/**'], languageOptions: { globals: globals.browser } },
];
