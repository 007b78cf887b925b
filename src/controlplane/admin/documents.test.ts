import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createJoinToken } from '@weft/ca/join-tokens';
import { parseTrustDomain } from '@weft/model/identity';
import { pino } from 'pino';
import { openControlPlane } from '../control-plane.ts';

const MANIFEST = `
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: web
  containers: [{name: web, ports: [{containerPort: 8080}]}]
status: {podIP: 10.0.0.1, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: prices-1, namespace: shop, annotations: {weft.dev/proxy: none}}
spec: {serviceAccountName: prices, containers: [{name: prices}]}
status: {podIP: 10.0.0.2, phase: Running}
---
apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}
`;

const get = (address: string, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    http
      .get(`http://${address}${path}`, { agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (body += part));
        response.on('end', () => resolve(body));
      })
      .on('error', reject);
  });

/** Certificates are for everybody to see. */
function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(Buffer.from(text, 'base64')).serialNumber !== '';
  } catch {
    return false;
  }
}

/** Every long run of base64 or hex in the files: keys and hashes of tokens are among them. */
async function secretsUnder(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile() || entry.name === 'bundle.pem') continue;
    const text = await readFile(join(entry.parentPath, entry.name), 'utf8');
    const runs = text.match(/[A-Za-z0-9+/_-]{40,}={0,2}/g) ?? [];
    found.push(...runs.filter((run) => !isCertificate(run)));
  }
  return found;
}

test('no key, no token and no hash of one is in any answer or log line (CVE-2026-31838)', async () => {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'weft-documents-'));
  stack.defer(() => rm(root, { recursive: true }));
  const manifests = join(root, 'manifests');
  const stateDir = join(root, 'state');
  await mkdir(manifests);
  await writeFile(join(manifests, 'web.yaml'), MANIFEST);
  const lines: string[] = [];
  const local = { host: '127.0.0.1', port: 0 };
  const plane = stack.use(
    await openControlPlane({
      manifests,
      stateDir,
      trustDomain: parseTrustDomain('mesh.test')!,
      rootNamespace: 'weft-system',
      xds: local,
      enrolment: local,
      admin: local,
      svidTtlMs: 3_600_000,
      dnsNames: [],
      ipAddresses: ['127.0.0.1'],
      version: '1',
      log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) }),
    }),
  );
  const { token } = await createJoinToken({ stateDir, namespace: 'shop', serviceAccount: 'web' });
  const secrets = [...(await secretsUnder(stateDir)), token, token.split('.').at(-1) ?? token];
  assert.ok(secrets.length > 4, 'the state has keys and a token');
  const listing: { readonly try: readonly string[] } = JSON.parse(
    await get(plane.addresses.admin ?? '', '/'),
  );
  assert.ok(listing.try.includes('/v1/ca') && listing.try.includes('/v1/sessions'));
  for (const path of listing.try) {
    const body = await get(plane.addresses.admin ?? '', path);
    assert.ok(body.length > 1, path);
    for (const text of [body, ...lines]) {
      assert.ok(!text.includes('PRIVATE KEY'), path);
      for (const secret of secrets) assert.ok(!text.includes(secret), `${path}: ${secret}`);
    }
  }
  const { policies } = JSON.parse(await get(plane.addresses.admin ?? '', '/v1/policies'));
  assert.deepEqual(
    policies.map((one: { readonly enforced: string }) => one.enforced),
    ['0/1'],
    'placed, and enforced by nobody yet',
  );
  const { workloads } = JSON.parse(await get(plane.addresses.admin ?? '', '/v1/workloads'));
  const told = workloads.map(({ id, proxy }: Record<string, unknown>) => [id, proxy]);
  assert.deepEqual(Object.fromEntries(told), { 'web-1.shop': undefined, 'prices-1.shop': 'none' });
});
