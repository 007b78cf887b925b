// Puts a compiled mesh together; what is wrong with it is found out when somebody asks, once.
import type { Mesh } from '@weft/model/mesh/mesh';
import type { Problem } from '@weft/model/problem';
import { type Authorizers, missingProviders } from './authorizers.ts';
import { missingData } from './egress/missing-data.ts';
import { routeProblems } from './routes/route-statuses.ts';
import { terminationProblems } from './problems/termination-problems.ts';
import { findPolicyProblems, type PolicyFindings } from './problems/policy-problems.ts';

type Problems = ReadonlyMap<string, readonly Problem[]>;

/** What compiling has found already, by what it is about; and what policies are judged by. */
export interface Found {
  readonly settings: readonly Problem[];
  readonly egress: readonly Problem[];
  readonly explanations: readonly Problem[];
  readonly pods: Problems;
  readonly tokens: Problems;
  readonly addresses: Problems;
  readonly services: Problems;
  readonly registry: Problems;
  readonly ips: Problems;
  readonly authorizers: Authorizers | undefined;
  readonly unknownNamespaces: ReadonlySet<string>;
  readonly shapes: ReadonlyMap<string, object>;
  readonly findings: PolicyFindings;
}

export function createMesh({
  found,
  ...mesh
}: Omit<Mesh, 'problems'> & { readonly found: Found }): Mesh {
  let problems: readonly Problem[] | undefined;
  return {
    ...mesh,
    get problems() {
      problems ??= problemsOf(mesh, found);
      return problems;
    },
  };
}

function problemsOf(mesh: Omit<Mesh, 'problems'>, found: Found): readonly Problem[] {
  const { authorizers, unknownNamespaces, shapes, findings } = found;
  const { authorization } = mesh.policies;
  return [
    ...found.settings,
    ...found.egress,
    ...missingData(mesh),
    ...(authorizers === undefined ? [] : missingProviders(authorization, authorizers)),
    ...found.explanations,
    ...each(found.pods),
    // One for each policy, however many workloads it selects.
    ...new Set(each(found.tokens)),
    ...each(found.addresses),
    ...each(found.services),
    ...each(found.registry),
    ...each(found.ips),
    ...routeProblems(mesh),
    ...terminationProblems(mesh),
    ...findPolicyProblems({ mesh, unknownNamespaces, shapes }, findings),
  ];
}

const each = (problems: Problems): readonly Problem[] => [...problems.values()].flat();
