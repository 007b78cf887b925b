// Policies of every source that the tests have, as objects that an API server can be asked about.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crdFiles } from '@weft/controlplane/schema/crd-files';
import type { KubeObject, KubeResult } from '@weft/kube/kube-api';
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  type KubeResource,
  MESH_CONFIGS,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
} from '@weft/kube/resource';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { objectsOf, readCorpusGroups } from './conformance-corpus.ts';
import type { Kubelab } from './kubelab.ts';

const root = join(import.meta.dirname, '../..');
const FILES = [
  'deploy/examples/shop/policies.yaml',
  'test/golden/compile/shop.in.yaml',
  'test/golden/compile/problems.in.yaml',
];
const CORPUS = ['policies-valid.json', 'policies-invalid.json'].map((name) =>
  join(root, '../shared/conformance', name),
);

export const POLICY_RESOURCES: readonly KubeResource[] = [
  AUTHORIZATION_POLICIES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  MESH_CONFIGS,
];

export interface WeftObject {
  readonly resource: KubeResource;
  readonly object: KubeObject;
}

/** In Weft's own version, whatever version it was written in; `undefined` for other kinds. */
export function asOwn(object: PlainObject): WeftObject | undefined {
  const resource = POLICY_RESOURCES.find(({ kind }) => kind === object['kind']);
  if (resource === undefined) return undefined;
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const { name = 'p', annotations, namespace = 'default' } = metadata;
  const named = { name, namespace, ...(annotations !== undefined && { annotations }) };
  return { resource, object: { ...object, apiVersion: apiVersionOf(resource), metadata: named } };
}

/** From the examples, the golden files, and the conformance corpus where it is at hand. */
export function knownPolicies(): readonly WeftObject[] {
  const texts = FILES.map((file) => readFileSync(join(root, file), 'utf8'));
  for (const file of CORPUS.filter((path) => existsSync(path))) {
    const entries: readonly { readonly yaml: string }[] = JSON.parse(readFileSync(file, 'utf8'));
    texts.push(...entries.map(({ yaml }) => yaml));
  }
  texts.push(...readCorpusGroups().map(({ policies }) => policies));
  return texts.flatMap((text) => objectsOf(text).flatMap((object) => asOwn(object) ?? []));
}

/** As an operator does it, and waits until they are served. */
export async function installCrds(lab: Kubelab): Promise<void> {
  const input = [...crdFiles().values()].join('---\n');
  const args = ['apply', '--server-side', '--force-conflicts', '-f', '-'];
  const applied = await lab.kubectl(args, { input });
  assert.equal(applied.code, 0, applied.stderr);
  const wait = ['wait', '--for=condition=Established', '--timeout=20s', 'crd', '-l'];
  const waited = await lab.kubectl([...wait, 'app.kubernetes.io/name=weft']);
  assert.equal(waited.code, 0, waited.stderr);
}

export const whyNot = (result: KubeResult<unknown>): string => (result.ok ? '' : result.message);
