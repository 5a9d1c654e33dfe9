import { render } from 'preact';
import { start } from './app/session';
import { followStatus } from './status/feed';
import { Shell } from './app/shell';
import './styles/base.css';
import './styles/shell.css';
import './styles/status.css';
import './styles/tables.css';
import './styles/terminal.css';

const root = document.getElementById('app');
if (!root) throw new Error('the page has no #app');
start();
followStatus();
root.replaceChildren();
render(<Shell />, root);
