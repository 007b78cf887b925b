// A client with the rights of a service account of a test cluster, and nothing beside them.
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { SERVICE_ACCOUNTS } from '@weft/kube/resource';
import type { Kubelab } from './kubelab.ts';

export interface Account {
  readonly namespace: string;
  readonly name: string;
}

/** The path of a kubeconfig with a token of the account, which must exist; it goes with the cluster's folder. */
export async function kubeconfigOf(lab: Kubelab, account: Account): Promise<string> {
  const { namespace, name } = account;
  const apiVersion = 'authentication.k8s.io/v1';
  const request = { apiVersion, kind: 'TokenRequest', metadata: { namespace, name }, spec: {} };
  const made = await lab.client.create(SERVICE_ACCOUNTS, request, { subresource: 'token' });
  assert.ok(made.ok, made.ok ? '' : made.message);
  const cluster = {
    server: lab.server,
    'certificate-authority-data': Buffer.from(lab.caPem).toString('base64'),
  };
  const config = {
    clusters: [{ name: 'lab', cluster }],
    users: [{ name: 'me', user: { token: textAt(made.value, 'status', 'token') } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'me' } }],
    'current-context': 'lab',
  };
  const file = join(mkdtempSync(join(lab.dir, 'account-')), 'kubeconfig');
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** The caller disposes of it. */
export async function clientOf(lab: Kubelab, account: Account): Promise<KubeClient> {
  return createKubeClient(connect({ kubeconfig: await kubeconfigOf(lab, account) }));
}
