// What keeps a TlsTermination from holding where it was meant to: Secrets that are not there, ports that are closed, and modes that come first.
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { DataObject } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import type { TlsTermination } from '@weft/model/tls/types';
import { terminationOf } from '../../resources/termination-chains.ts';

type Told = Pick<Mesh, 'workloads' | 'policies' | 'secrets'>;

/** Found out anew whenever somebody asks: Secrets come and go without anything else changing. */
export function terminationProblems(mesh: Told): readonly Problem[] {
  const { terminations = [] } = mesh.policies;
  if (terminations.length === 0) return [];
  const problems = new Map<string, Problem>();
  for (const termination of terminations) {
    for (const problem of secretProblems(termination, mesh)) {
      problems.set(`${termination.namespace}/${termination.name} ${problem.message}`, problem);
    }
  }
  for (const workload of mesh.workloads.values()) {
    for (const termination of workload.inbound.terminations ?? []) {
      for (const problem of portProblems(termination, workload)) {
        problems.set(`${termination.namespace}/${termination.name} ${problem.message}`, problem);
      }
    }
  }
  return [...problems.values()];
}

function problem(
  { namespace, name }: TlsTermination,
  severity: Problem['severity'],
  told: Pick<Problem, 'code' | 'message'> & Partial<Pick<Problem, 'field' | 'cure'>>,
): Problem {
  return { severity, ...told, object: { kind: 'TlsTermination', namespace, name } };
}

function* secretProblems(termination: TlsTermination, { secrets }: Told): Iterable<Problem> {
  const { namespace, certificates, clientCertificates: clients } = termination;
  const lacks = (name: string, keys: readonly string[]): string | undefined => {
    const found: DataObject | undefined = secrets?.get(`${namespace}\0${name}`);
    if (found === undefined) return `Secret ${name} is not there, or may not be read`;
    const missing = keys.filter((key) => !found.values.has(key));
    return missing.length === 0 ? undefined : `Secret ${name} has no ${missing.join(' and no ')}`;
  };
  const cure = 'make it, and let the control plane read it (docs/tls-termination.md)';
  for (const [index, source] of certificates.entries()) {
    const message =
      source.kind === 'secret' ? lacks(source.name, ['tls.crt', 'tls.key']) : undefined;
    const field = `spec.certificates[${index}].secret`;
    if (message !== undefined)
      yield problem(termination, 'error', { code: 'missing-secret', field, message, cure });
  }
  if (clients?.trust.kind !== 'secret') return;
  const keys = clients.crl === 'required' ? ['ca.crt', 'ca.crl'] : ['ca.crt'];
  const message = lacks(clients.trust.name, keys);
  const field = 'spec.clientCertificates.trust.secret';
  if (message !== undefined)
    yield problem(termination, 'error', { code: 'missing-secret', field, message, cure });
}

const CLOSED = {
  several: {
    code: 'several-terminations',
    cure: 'keep one for each port',
    why: 'several TlsTerminations are for it',
  },
  'names-mesh': {
    code: 'identity-of-mesh',
    cure: 'take the mesh’s own trust domain out of subjectAltNames',
    why: 'its constraints would take certificates of others for identities of the mesh',
  },
} as const;

function* portProblems(termination: TlsTermination, workload: Workload): Iterable<Problem> {
  const { ports } = termination;
  for (const inbound of workload.inbound.ports) {
    const { port } = inbound;
    if (ports.length > 0 && !ports.includes(port)) continue;
    if (inbound.mode === 'STRICT') {
      const message = `does not hold at port ${port}: mutual TLS of the mesh is demanded there`;
      const cure = `allow others there: a PeerAuthentication with portLevelMtls ${port}: {mode: PERMISSIVE}`;
      yield problem(termination, 'warning', { code: 'strict-mode', message, cure });
      continue;
    }
    const held = terminationOf(workload.inbound, inbound);
    if (held.kind !== 'closed') continue;
    const { code, cure, why } = CLOSED[held.reason];
    const message = `port ${port} is closed to clients outside the mesh: ${why}`;
    yield problem(termination, 'error', { code, message, cure });
  }
}
