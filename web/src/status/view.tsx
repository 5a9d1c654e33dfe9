import type { ComponentChildren, JSX } from 'preact';
import { busState } from '../app/session';
import { Empty } from '../ui/empty';
import { formatBytes, formatCount, formatRate, formatSpan } from '../ui/format';
import { history, latest, trouble } from './feed';
import { Graph } from './graph';

const messagesPerSecond = (rate: number) => `${formatRate(rate)}/s`;
const bytesPerSecond = (rate: number) => `${formatBytes(rate)}/s`;

/** What the server is doing now, and did in the last five minutes. */
export function StatusView(): JSX.Element {
  const status = latest.value;
  if (!status) {
    return (
      <main class="page">
        <h1 class="visually-hidden">Status</h1>
        {trouble.value !== '' && busState.value.phase === 'connected' ? (
          <Empty title={trouble.value}>
            <p class="muted">The status service may be switched off in this server’s settings.</p>
          </Empty>
        ) : (
          <Skeleton />
        )}
      </main>
    );
  }
  const last = history.value.at(-1);
  const rates = last && 'cpu' in last ? last : undefined;
  const stale = busState.value.phase !== 'connected' || trouble.value !== '';
  return (
    <main class="page" data-stale={stale}>
      <header class="page-header">
        <h1>{location.hostname}</h1>
        <p class="muted">
          up <span data-metric="uptime">{formatSpan(status.uptime_ms)}</span> · version{' '}
          <span data-metric="version">{status.version}</span> · server {status.server_id}
        </p>
      </header>
      <dl class="metrics">
        <Metric name="connections" label="Connections">
          {formatCount(status.connections)}
        </Metric>
        <Metric name="subscriptions" label="Subscriptions">
          {formatCount(status.subscriptions)}
        </Metric>
        <Metric name="sessions" label="Terminals">
          {formatCount(status.sessions)}
        </Metric>
        <Metric name="memory" label="Memory">
          {formatBytes(status.rss_bytes)}
        </Metric>
        <Metric name="cpu" label="CPU" note={`${formatSpan(status.cpu_ms)} in all`}>
          {rates ? `${(rates.cpu * 100).toFixed(1)} %` : '–'}
        </Metric>
        <Metric name="drops" label="Dropped messages" alert={status.drops > 0} note="since start">
          {formatCount(status.drops)}
        </Metric>
        <Metric name="slow-readers" label="Slow readers" alert={status.slow_readers > 0} note="since start">
          {formatCount(status.slow_readers)}
        </Metric>
      </dl>
      <div class="graphs">
        <Graph title="Messages" incoming="messagesIn" outgoing="messagesOut" format={messagesPerSecond} />
        <Graph title="Throughput" incoming="bytesIn" outgoing="bytesOut" format={bytesPerSecond} binary />
      </div>
      <dl class="totals">
        <Total label="Messages in">{formatCount(status.messages_in)}</Total>
        <Total label="Messages out">{formatCount(status.messages_out)}</Total>
        <Total label="Bytes in">{formatBytes(status.bytes_in)}</Total>
        <Total label="Bytes out">{formatBytes(status.bytes_out)}</Total>
      </dl>
    </main>
  );
}

interface MetricProps {
  name: string;
  label: string;
  note?: string;
  alert?: boolean;
  children: ComponentChildren;
}

function Metric({ name, label, note, alert = false, children }: MetricProps): JSX.Element {
  return (
    <div class="metric" data-alert={alert}>
      <dt>{label}</dt>
      <dd>
        <span data-metric={name}>{children}</span>
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

function Total({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The shape of what is coming, while nothing has come. */
function Skeleton(): JSX.Element {
  return (
    <div class="skeleton" role="status" aria-label="Waiting for the server’s status">
      <div class="metrics">
        {Array.from({ length: 7 }, (_, index) => (
          <div key={index} class="metric" />
        ))}
      </div>
      <div class="graphs">
        <div class="panel graph" />
        <div class="panel graph" />
      </div>
    </div>
  );
}
