// Reads from the kernel how many bytes a process has received on its connections to one address: what its configuration cost the network.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const OUTPUT_BYTES = 64 * 1_024 * 1_024;

/** On connections that are still open; TLS records and all. @param address `host:port` of the other side */
export async function receivedBytes(pid: number, address: string): Promise<number> {
  const { stdout } = await run('ss', ['-Htinp', 'dst', address], { maxBuffer: OUTPUT_BYTES });
  return sumReceived(stdout, pid);
}

/** @param text of `ss -Htinp`: a line for each connection, and another that begins with white space with its counters */
export function sumReceived(text: string, pid: number): number {
  let sum = 0;
  let isOurs = false;
  for (const line of text.split('\n')) {
    if (!/^\s/.test(line)) isOurs = line.includes(`pid=${pid},`);
    if (isOurs) sum += Number(/\bbytes_received:(\d+)/.exec(line)?.[1] ?? 0);
  }
  return sum;
}
