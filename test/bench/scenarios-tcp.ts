// The scenarios of raw TCP: bytes in bulk, counted in MB, and small messages there and back.
import type { LoadSpec, MeshSpec, Scenario } from './scenario.ts';

const TCP: MeshSpec = { name: 'TCP', app: 'tcp', port: 'tcp-lines', rules: 'two' };
const TRANSFER_BYTES = 100_000_000;
const MESSAGE_BYTES = 100;

const tcp = (
  name: string,
  connections: number,
  more: NonNullable<LoadSpec['more']>,
  about: Partial<Scenario> = {},
): Scenario => ({
  name: `TCP ${name}`,
  mesh: TCP,
  drivers: ['tcp'],
  load: { path: '', connections, more },
  ...about,
});

const bulk = (kind: 'tcp-down' | 'tcp-up'): NonNullable<LoadSpec['more']> => ({
  kind,
  bytes: TRANSFER_BYTES,
  unit: 'MB',
});
const PING = { kind: 'tcp-ping', bytes: MESSAGE_BYTES };

export const TCP_SCENARIOS: readonly Scenario[] = [
  tcp('bulk down, 100 MB each', 1, bulk('tcp-down'), { unit: 'MB', isQuick: true }),
  tcp('bulk up, 100 MB each', 1, bulk('tcp-up'), { unit: 'MB' }),
  tcp('bulk down, 4 connections', 4, bulk('tcp-down'), { unit: 'MB' }),
  tcp('ping-pong 100 B, 1 connection', 1, PING, { unit: 'message' }),
  tcp('ping-pong 100 B, 32 connections', 32, PING, { unit: 'message', isQuick: true }),
];
