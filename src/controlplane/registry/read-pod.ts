// Reads Pods: as they are, or as many as a Deployment's annotation gives addresses for where no cluster makes them.
import type { PodObject } from '@weft/model/mesh/objects';
import { isDnsSubdomain } from '@weft/model/identity';
import { Reader, shown, type PlainObject } from '@weft/model/policy/reader';
import {
  given,
  isTcp,
  items,
  mapping,
  outcome,
  readIp,
  readLabels,
  readMeta,
  readPort,
  type Reading,
} from './reading.ts';

/** On a Deployment's template: `"127.0.1.1,127.0.1.2"`, one Pod for each address. */
export const POD_IPS_ANNOTATION = 'weft.dev/pod-ips';
/** Pods that one Deployment may stand for. */
const MAX_PODS = 1_000;
/** Kubernetes' own name for a Pod that names no account. */
const DEFAULT_SERVICE_ACCOUNT = 'default';

export function readPod(object: PlainObject): Reading {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const status = mapping(reader, object['status'], 'status');
  const phase = status['phase'];
  const deletion = mapping(reader, object['metadata'], 'metadata')['deletionTimestamp'];
  return outcome(reader, {
    kind: 'Pod',
    meta,
    ...readSpec(reader, object, 'spec'),
    ips: readIps(reader, status),
    isReady: readReady(reader, status),
    isDeleting: given(deletion) !== undefined,
    isFinished: phase === 'Succeeded' || phase === 'Failed',
  });
}

/** Gives no Pod without the annotation: in a cluster the Pods come by themselves. */
export function readDeployment(object: PlainObject): Reading {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const spec = mapping(reader, object['spec'], 'spec');
  const template = mapping(reader, spec['template'], 'spec.template');
  const metadata = mapping(reader, template['metadata'], 'spec.template.metadata');
  const labels = readLabels(reader, metadata, 'spec.template.metadata');
  const text = labels.annotations.get(POD_IPS_ANNOTATION);
  const parts = readSpec(reader, template, 'spec.template.spec');
  const field = `spec.template.metadata.annotations.${POD_IPS_ANNOTATION}`;
  const pods = splitAddresses(reader, text, field).map(
    (ip, index): PodObject => ({
      kind: 'Pod',
      meta: { namespace: meta.namespace, name: `${meta.name}-${index}`, ...labels },
      ...parts,
      ips: [ip],
      isReady: true,
      isDeleting: false,
      isFinished: false,
    }),
  );
  if (reader.problems.length > 0) return outcome(reader, undefined);
  return { kind: 'good', objects: pods, problems: [] };
}

/**
 * The Pod that a Deployment, StatefulSet or DaemonSet would make, for judging manifests of which no cluster has made
 * Pods yet. It is called `NAME-*` and has no address. @returns `undefined` when the template cannot be read, or has
 * addresses and so gives Pods itself.
 */
export function readTemplatePod(object: PlainObject): PodObject | undefined {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const spec = mapping(reader, object['spec'], 'spec');
  const template = mapping(reader, spec['template'], 'spec.template');
  const metadata = mapping(reader, template['metadata'], 'spec.template.metadata');
  const labels = readLabels(reader, metadata, 'spec.template.metadata');
  const parts = readSpec(reader, template, 'spec.template.spec');
  if (reader.problems.length > 0 || labels.annotations.has(POD_IPS_ANNOTATION)) return undefined;
  return {
    kind: 'Pod',
    meta: { namespace: meta.namespace, name: `${meta.name}-*`, ...labels },
    ...parts,
    ips: [],
    isReady: true,
    isDeleting: false,
    isFinished: false,
  };
}

function splitAddresses(
  reader: Reader,
  text: string | undefined,
  field: string,
): readonly string[] {
  if (text === undefined) return [];
  const parts = text.split(',');
  if (parts.length > MAX_PODS) {
    reader.error(field, 'too-many', `${parts.length} addresses, at most ${MAX_PODS} are allowed`);
    return [];
  }
  const ips = parts.flatMap((part) => readIp(reader, part.trim(), field) ?? []);
  if (new Set(ips).size < ips.length) {
    reader.error(field, 'duplicate-ip', `${shown(text)} names an address twice`);
  }
  return ips;
}

type SpecParts = Pick<PodObject, 'serviceAccount' | 'ports'>;

function readSpec(reader: Reader, holder: PlainObject, field: string): SpecParts {
  const spec = mapping(reader, holder['spec'], field);
  const at = `${field}.serviceAccountName`;
  const account = reader.string(given(spec['serviceAccountName']), at) ?? DEFAULT_SERVICE_ACCOUNT;
  if (!isDnsSubdomain(account)) {
    const cure = 'use lower-case letters, digits, "-" and "."';
    reader.error(at, 'bad-name', `${shown(account)} is no valid name`, cure);
  }
  const containers = items(reader, spec['containers'], `${field}.containers`);
  const ports = containers.flatMap(([container, containerField]) =>
    items(reader, container['ports'], `${containerField}.ports`).flatMap(([entry, portField]) => {
      if (!isTcp(entry)) return [];
      const name = reader.string(given(entry['name']), `${portField}.name`) ?? '';
      const port = readPort(reader, entry['containerPort'], `${portField}.containerPort`);
      return [{ name, port }];
    }),
  );
  return { serviceAccount: account, ports };
}

function readIps(reader: Reader, status: PlainObject): readonly string[] {
  const listed = items(reader, status['podIPs'], 'status.podIPs').map(
    ([entry, field]) => [entry['ip'], `${field}.ip`] as const,
  );
  const entries = [[status['podIP'], 'status.podIP'] as const, ...listed];
  const ips = entries.flatMap(([value, field]) =>
    value === undefined || value === null || value === ''
      ? []
      : (readIp(reader, value, field) ?? []),
  );
  return [...new Set(ips)];
}

/** Ready unless a condition says otherwise: written by hand, a Pod has none. */
function readReady(reader: Reader, status: PlainObject): boolean {
  const conditions = items(reader, status['conditions'], 'status.conditions');
  const ready = conditions.find(([condition]) => condition['type'] === 'Ready');
  return ready === undefined || ready[0]['status'] === 'True';
}
