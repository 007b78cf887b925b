// Calls of clients outside the mesh to a sidecar that takes their TLS, and how one that it refused looks to them and in its metrics.
import assert from 'node:assert/strict';
import type { StaticRig } from './static-sidecar-rig.ts';
import { curl, type CurlAnswer, type Leaf, type OutsideCa } from './tls-clients.ts';

export const NAME = 'www.example.com';

export const fileOf = ({ certificate, key }: Leaf) => ({ file: { certificate, key } });

export interface Call {
  readonly name?: string;
  readonly client?: Leaf;
  readonly args?: readonly string[];
}

export function call(rig: StaticRig, ca: OutsideCa, { name = NAME, client, args = [] }: Call = {}) {
  const shown = client === undefined ? [] : ['--cert', client.certificate, '--key', client.key];
  return curl([
    '--cacert',
    ca.certificate,
    '--resolve',
    `${name}:${rig.port}:127.0.0.1`,
    ...shown,
    ...args,
    `https://${name}:${rig.port}/`,
  ]);
}

/** The reason under which a refused connection is counted. */
export async function assertRefused(
  rig: StaticRig,
  answer: CurlAnswer,
  reason: string,
): Promise<void> {
  assert.notEqual(answer.exitCode, 0, answer.headers);
  const line = `weft_connections_refused_total{direction="inbound",reason="${reason}"} `;
  const metrics = await rig.metrics();
  assert.ok(
    metrics.includes(line),
    `${reason}: ${metrics
      .split('\n')
      .filter((one) => one.startsWith('weft_connections_refused'))
      .join()}`,
  );
}

export const headersOf = (answer: CurlAnswer): Readonly<Record<string, string>> =>
  JSON.parse(answer.body).headers;
