// What must hold of an installed control plane: kinds, replicas, leader, certificates, the bundle.
import { X509Certificate } from 'node:crypto';
import { CA_SECRET } from '@weft/ca/store/kubernetes-secret';
import { numberAt, textAt } from '@weft/kube/object-fields';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  LEASES,
  NAMESPACES,
  SECRETS,
  TRUST_BUNDLES,
} from '@weft/kube/resource';
import { CUSTOM_KINDS, customResourceDefinition } from '@weft/controlplane/schema/custom-resources';
import { VERSION } from '../../version.ts';
import { changedFields } from '../changed-fields.ts';
import { DEPLOYMENTS } from '../manifest-objects.ts';
import { conditionOf, CONTROL_PLANE, itemsAt, rolloutOf, whyPodsWait } from '../wait-until.ts';
import { absent, bad, type Check, type Finding, listAll, ok, unread, warn } from './finding.ts';

export const BUNDLE = 'weft-trust-bundle';
export const BUNDLE_KEY = 'bundle.pem';
export const INSTALL = 'run: weft install (or: weft upgrade)';
/** A root is replaced long before: one that is this near to its end is not being rotated. */
const ROOT_LEFT_MS = 30 * 24 * 3_600_000;
/** Leaders renew every 2 s, and are replaced after 15. */
const LEASE_STALE_MS = 20_000;

export const checkKinds: Check = async ({ client }) => {
  const findings: Finding[] = [];
  for (const kind of CUSTOM_KINDS) {
    const wanted = customResourceDefinition(kind);
    const name = textAt(wanted, 'metadata', 'name') ?? '';
    const found = await client.get(CUSTOM_RESOURCE_DEFINITIONS, { name });
    if (!found.ok)
      findings.push(absent('kinds', `CustomResourceDefinition ${name}`, found, INSTALL));
    else if (conditionOf(found.value, 'Established')?.['status'] !== 'True') {
      const why = textAt(conditionOf(found.value, 'NamesAccepted'), 'message') ?? '';
      findings.push(
        bad('kinds', `${name} is not served: ${why}`, `look: kubectl describe crd ${name}`),
      );
    } else {
      const tried = await client.apply(CUSTOM_RESOURCE_DEFINITIONS, wanted, {
        fieldManager: 'weft-check',
        isForced: true,
        isDryRun: true,
      });
      if (!tried.ok) findings.push(unread('kinds', tried));
      else if (changedFields(found.value, tried.value).some((line) => line.startsWith('spec.'))) {
        findings.push(
          bad('kinds', `${name} is of another version of Weft than ${VERSION}`, INSTALL),
        );
      }
    }
  }
  return findings.length > 0
    ? findings
    : [ok('kinds', `Weft's ${CUSTOM_KINDS.length} kinds are served, as of ${VERSION}`)];
};

export const checkReplicas: Check = async ({ client, namespace }) => {
  const found = await client.get(DEPLOYMENTS, { name: CONTROL_PLANE, namespace });
  const what = `Deployment ${namespace}/${CONTROL_PLANE}`;
  if (!found.ok) return [absent('control-plane', what, found, INSTALL)];
  const version = textAt(found.value, 'metadata', 'labels', 'app.kubernetes.io/version') ?? '';
  const missing = rolloutOf(found.value);
  if (missing !== undefined) {
    const why = await whyPodsWait(client, namespace);
    return [
      bad(
        'control-plane',
        why === undefined ? missing : `${missing}; ${why}`,
        `look: kubectl -n ${namespace} get pods; kubectl -n ${namespace} logs deployment/${CONTROL_PLANE}`,
      ),
    ];
  }
  const replicas = numberAt(found.value, 'spec', 'replicas') ?? 1;
  const findings = [
    ok('control-plane', `${replicas} of ${replicas} replicas of ${version} are ready`),
  ];
  if (version !== VERSION) {
    findings.push(
      warn('control-plane', `this command is of version ${VERSION}`, 'run: weft upgrade --dry-run'),
    );
  }
  if (replicas === 1) {
    findings.push(
      warn(
        'control-plane',
        'with one replica no Pod of the mesh can start while it is away',
        'install with deploy/helm/weft/values-ha.yaml',
      ),
    );
  }
  return findings;
};

export const checkLeader: Check = async ({ client, namespace, now }) => {
  const found = await client.get(LEASES, { name: CONTROL_PLANE, namespace });
  const cure = `look: kubectl -n ${namespace} logs deployment/${CONTROL_PLANE} | grep leader`;
  if (!found.ok) return [absent('leader', `Lease ${namespace}/${CONTROL_PLANE}`, found, cure)];
  const holder = textAt(found.value, 'spec', 'holderIdentity') ?? '';
  if (holder === '') return [bad('leader', 'no control plane leads', cure)];
  const renewed = Date.parse(textAt(found.value, 'spec', 'renewTime') ?? '');
  const ageMs = now() - renewed;
  if (ageMs > LEASE_STALE_MS) {
    const seconds = Math.round(ageMs / 1_000);
    return [bad('leader', `${holder} led, and was last heard of ${seconds} s ago`, cure)];
  }
  if (ageMs < -LEASE_STALE_MS) {
    const seconds = Math.round(-ageMs / 1_000);
    return [
      warn('leader', `the clock of ${holder} is ${seconds} s ahead of ours`, 'set both by NTP'),
    ];
  }
  return [ok('leader', `${holder} leads`)];
};

const certificatesOf = (pem: string): readonly X509Certificate[] =>
  pem
    .split(/(?<=-----END CERTIFICATE-----)/)
    .filter((part) => part.includes('BEGIN CERTIFICATE'))
    .map((part) => new X509Certificate(part));

export const checkCertificates: Check = async ({ client, namespace, now }) => {
  const target = { namespace, name: BUNDLE };
  const cure = `it is written by the leader; look: kubectl -n ${namespace} logs deployment/${CONTROL_PLANE}`;
  const found = await client.get(CONFIG_MAPS, target);
  if (!found.ok) return [absent('certificates', `ConfigMap ${namespace}/${BUNDLE}`, found, cure)];
  const findings: Finding[] = [];
  const secret = await client.get(SECRETS, { namespace, name: CA_SECRET });
  if (!secret.ok && secret.code === 404) {
    findings.push(
      absent('certificates', `Secret ${namespace}/${CA_SECRET} with the CA`, secret, cure),
    );
  }
  try {
    const roots = certificatesOf(textAt(found.value, 'data', BUNDLE_KEY) ?? '');
    if (roots.length === 0) throw new Error('it holds no certificate');
    const ends = Math.min(...roots.map(({ validToDate }) => validToDate.getTime()));
    const day = new Date(ends).toISOString().slice(0, 10);
    if (ends - now() < ROOT_LEFT_MS) {
      const rotate = `kubectl patch trustbundle weft --type=merge -p '{"spec":{"rotate":"${day}"}}'`;
      findings.push(bad('certificates', `a trusted root ends on ${day}`, `run: ${rotate}`));
    } else {
      findings.push(
        ok('certificates', `${roots.length} trusted root(s), the first ends on ${day}`),
      );
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    findings.push(bad('certificates', `${BUNDLE_KEY} in ${BUNDLE} cannot be read: ${why}`, cure));
  }
  return [...findings, ...(await rotationFindings(client))];
};

async function rotationFindings(
  client: Parameters<Check>[0]['client'],
): Promise<readonly Finding[]> {
  const found = await client.get(TRUST_BUNDLES, { name: 'weft' });
  if (!found.ok) return [];
  return itemsAt(found.value, 'status', 'conditions').flatMap((condition) => {
    const type = textAt(condition, 'type') ?? '';
    if (type !== 'Ready' || textAt(condition, 'status') !== 'False') return [];
    const message = textAt(condition, 'message') ?? '';
    return [bad('certificates', `the CA: ${message}`, 'look: kubectl describe trustbundle weft')];
  });
}

/** In every namespace whose Pods may be injected: without it a Pod waits for its volume. */
export const checkBundles: Check = async ({ client, namespace }) => {
  const own = await client.get(CONFIG_MAPS, { namespace, name: BUNDLE });
  // Said by the check of certificates.
  if (!own.ok) return [];
  const bundle = textAt(own.value, 'data', BUNDLE_KEY);
  const all = await listAll(client, CONFIG_MAPS, { fieldSelector: `metadata.name=${BUNDLE}` });
  if (!all.ok) return [unread('bundles', all)];
  const labelled = await listAll(client, NAMESPACES, {
    labelSelector: 'weft.dev/injection=enabled',
  });
  if (!labelled.ok) return [unread('bundles', labelled)];
  const byNamespace = new Map(
    all.value.map((one) => [textAt(one, 'metadata', 'namespace'), textAt(one, 'data', BUNDLE_KEY)]),
  );
  const names = labelled.value.map((one) => textAt(one, 'metadata', 'name') ?? '');
  const wrong = names.filter((name) => byNamespace.get(name) !== bundle);
  if (wrong.length > 0) {
    return [
      bad(
        'bundles',
        `ConfigMap ${BUNDLE} is missing or old in ${wrong.join(', ')}: Pods there cannot enrol`,
        `see that the leader may write it: kubectl -n ${namespace} logs deployment/${CONTROL_PLANE} | grep trust-bundle`,
      ),
    ];
  }
  return [ok('bundles', `the bundle is in ${names.length} namespaces with injection`)];
};
