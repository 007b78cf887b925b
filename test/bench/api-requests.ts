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

interface Counted {
  readonly labelOf: (name: string) => string;
  readonly count: number;
}

async function readCounts(lab: Kubelab): Promise<readonly Counted[]> {
  const { code, stdout, stderr } = await lab.kubectl(['get', '--raw', '/metrics']);
  if (code !== 0) throw new Error(`Cannot read the API server's metrics: ${stderr}`);
  return stdout
    .split('\n')
    .filter((line) => line.startsWith(METRIC))
    .map((line) => ({
      labelOf: (name) => labelOf(line, name),
      count: Number(line.slice(line.lastIndexOf(' ') + 1)),
    }));
}

/** Since the API server's start: requests that have all these labels. */
export async function countOf(
  lab: Kubelab,
  labels: Readonly<Record<string, string>>,
): Promise<number> {
  return (await readCounts(lab))
    .filter((one) => Object.entries(labels).every(([name, value]) => one.labelOf(name) === value))
    .reduce((sum, { count }) => sum + count, 0);
}

/** Since the API server's start. */
export async function countRequests(lab: Kubelab): Promise<RequestCounts> {
  let all = 0;
  let statusWrites = 0;
  for (const one of await readCounts(lab)) {
    if (NOT_COUNTED.has(one.labelOf('resource'))) continue;
    all += one.count;
    if (one.labelOf('subresource') === 'status') statusWrites += one.count;
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
