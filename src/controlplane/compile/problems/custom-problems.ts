// Finds CUSTOM policies that hold for ports where nobody can be asked about a connection.
import type { Workload } from '@weft/model/mesh/mesh';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';
import { distinctPorts, portsOfRule } from './rule-problems.ts';
import { warning } from './warning.ts';

/** Once for a policy: the first TCP port that a rule of it holds for. */
export function customProblems(
  policy: AuthorizationPolicy,
  selected: readonly Workload[],
): readonly Problem[] {
  if (policy.action !== 'CUSTOM') return [];
  const ports = distinctPorts(selected).filter(
    ({ protocol }) => protocol === 'tcp' || protocol === 'tls',
  );
  for (const [index, rule] of (policy.rules ?? []).entries()) {
    const port = ports.find(portsOfRule(rule));
    if (port === undefined) continue;
    const { namespace, name } = policy;
    const field = `spec.rules[${index}]`;
    const message = `holds for port ${port.port} (${port.protocol}), where the authorizer is not asked: what matches there is refused`;
    const cure = 'name the HTTP ports in operation.ports';
    const ref = { kind: 'AuthorizationPolicy', namespace, name };
    return [warning(ref, 'custom-on-tcp', { field, message, cure })];
  }
  return [];
}
