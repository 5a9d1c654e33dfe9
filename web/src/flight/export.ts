import { latest } from '../status/feed';
import { saveFile } from '../ui/save-file';
import type { FlightRecord } from './record';

/** Saves records as a file that can go with a bug report: metadata only, no content of any message. */
export function exportRecords(records: FlightRecord[], filter: string): void {
  const status = latest.peek();
  const report = {
    format: 'outpost-flight-1',
    exported: new Date().toISOString(),
    version: status?.version ?? null,
    server_id: status?.server_id ?? null,
    uptime_ms: status?.uptime_ms ?? null,
    page: navigator.userAgent,
    filter,
    records,
  };
  const content = new Blob([JSON.stringify(report, null, 1)], { type: 'application/json' });
  saveFile(`outpost-flight-${report.exported.replace(/[:.]/gu, '-')}.json`, content);
}
