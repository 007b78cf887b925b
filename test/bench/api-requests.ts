// Counts what an API server was asked for, from its own metrics.
import type { Kubelab } from '../support/kubelab.ts';

export interface RequestCounts {
  /** For resources, without Leases: a leader renews its own every two seconds, whatever happens. */
  readonly all: number;
  /** Of the `status` of policies. */
  readonly statusWrites: number;
}

const METRIC = 'apiserver_request_total{';
const NOT_COUNTED: ReadonlySet<string> = new Set(['', 'leases']);

/** The value of one label of a line of the exposition format. */
function labelOf(line: string, name: string): string {
  const from = line.indexOf(`${name}="`);
  if (from === -1) return '';
  const start = from + name.length + 2;
  return line.slice(start, line.indexOf('"', start));
}

/** Since the API server's start. */
export async function countRequests(lab: Kubelab): Promise<RequestCounts> {
  const { code, stdout, stderr } = await lab.kubectl(['get', '--raw', '/metrics']);
  if (code !== 0) throw new Error(`Cannot read the API server's metrics: ${stderr}`);
  let all = 0;
  let statusWrites = 0;
  for (const line of stdout.split('\n')) {
    if (!line.startsWith(METRIC) || NOT_COUNTED.has(labelOf(line, 'resource'))) continue;
    const count = Number(line.slice(line.lastIndexOf(' ') + 1));
    all += count;
    if (labelOf(line, 'subresource') === 'status') statusWrites += count;
  }
  return { all, statusWrites };
}

export const requestsSince = (
  before: RequestCounts,
  after: RequestCounts,
  sum: RequestCounts,
): RequestCounts => ({
  all: sum.all + after.all - before.all,
  statusWrites: sum.statusWrites + after.statusWrites - before.statusWrites,
});
