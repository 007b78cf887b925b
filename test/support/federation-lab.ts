// Two meshes that federate, for tests: manifests, the CA of the other one, and calls with whatever certificate it makes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import tls from 'node:tls';
import { decodeState } from '@weft/ca/store/state-codec';
import type { PlainObject } from '@weft/model/policy/reader';
import { runWeft } from './lab-daemon.ts';
import { eventually } from './lab-wait.ts';
import { type Lab, listOf } from './lab.ts';
import { type Credential, pkiOf, type TestPki } from './mesh-pki.ts';

/** Addresses of a test are not public. */
export const MESH_CONFIG = `apiVersion: mesh.weft.dev/v1
kind: MeshConfig
metadata: { name: mesh, namespace: weft-system }
spec: { jwksAllowedNetworks: [127.0.0.0/8] }
`;

/** @param of whose bundle it begins with */
export async function federationYaml(
  of: Lab,
  trustDomain: string,
  endpoint: string,
): Promise<string> {
  const { stdout, code } = await runWeft(['trust', 'bundle', '--admin', of.addresses.admin]);
  assert.equal(code, 0);
  return `apiVersion: security.weft.dev/v1
kind: FederatedTrustDomain
metadata: { name: partner, namespace: weft-system }
spec:
  trustDomain: ${trustDomain}
  bundleEndpoint:
    url: https://${endpoint}/
    profile: https_spiffe
    spiffeId: spiffe://${trustDomain}/ns/weft-system/sa/weft-control-plane
    bundle: ${JSON.stringify(JSON.stringify(JSON.parse(stdout)))}
`;
}

export const believed = (lab: Lab, isWanted = true): Promise<PlainObject> =>
  eventually(
    async () => {
      const [one] = listOf(await lab.ask('/v1/federation'), 'federations');
      return one?.['isInForce'] === isWanted ? one : undefined;
    },
    { what: `a federation that is ${isWanted ? '' : 'not '}believed` },
  );

/** @returns the status of one request, or why there was none. */
export async function callAs(credential: Credential, address: string): Promise<string> {
  const [host = '', port] = address.split(':');
  const socket = tls.connect({
    host,
    port: Number(port),
    key: credential.keyPem,
    cert: credential.chainPem,
    ALPNProtocols: ['weft-http/1.1'],
    rejectUnauthorized: false,
  });
  let heard = '';
  socket.on('error', (error) => (heard ||= error.name));
  socket.on('data', (part) => (heard += part.toString('latin1')));
  socket.write('GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n');
  await new Promise((resolve) => socket.once('close', resolve));
  return heard.startsWith('HTTP/1.1 ') ? heard.slice(9, 12) : 'refused';
}

/** Whoever has the CA of that mesh: it can make any certificate. */
export async function caOf(lab: Lab, trustDomain: string): Promise<TestPki> {
  const read = decodeState(await readFile(join(lab.state, 'ca', 'state.json'), 'utf8'));
  assert.ok(read.ok);
  const [generation] = read.state.generations;
  assert.ok(generation !== undefined);
  return pkiOf(generation, trustDomain);
}
