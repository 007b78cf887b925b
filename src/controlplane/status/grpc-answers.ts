// Answers for gRPC servers without a proxy when somebody asks who may call: by the rules that they are given, with what falls short of policies.
import type { InboundSpec, Workload } from '@weft/model/mesh/mesh';
import { compileRbac, type DecisionInput, type Evaluator } from '@weft/model/policy/evaluate';
import type { OwnServer, OwnServers } from '@weft/model/policy/explain-calls';
import { JWT_FILTER } from '@weft/model/policy/rbac';
import { isPlainObject } from '@weft/model/policy/reader';
import type { MtlsMode } from '@weft/model/policy/types';
import { firstOf } from '@weft/model/problem';
import { rulesUnder } from '../resources/grpc/grpc-server.ts';
import type { GrpcLibrary } from '../serve/view-source.ts';
import { type GrpcServers, ofWorkload, type Told } from './grpc-shortfalls.ts';

/** The status of each policy has them all. */
const MAX_NOTED = 5;

export function ownServersOf(mesh: Told, servers: GrpcServers): OwnServers {
  const known = new Map<InboundSpec, Map<string, Evaluator>>();
  const evaluatorOf = (inbound: InboundSpec, mode: MtlsMode, library: GrpcLibrary): Evaluator => {
    const own = known.get(inbound) ?? new Map<string, Evaluator>();
    known.set(inbound, own);
    const key = `${mode} ${library}`;
    const found = own.get(key) ?? compileRbac(rulesUnder(mode, inbound, library));
    own.set(key, found);
    return found;
  };
  return (workload: Workload): OwnServer | undefined => {
    const libraries = servers.get(workload.id);
    if (libraries === undefined) return undefined;
    const { inbound } = workload;
    return {
      notes: notesOf(mesh, workload, libraries),
      letsIn: (input, mode) =>
        !lacksCertificate(input, mode) &&
        !bringsToken(input, inbound) &&
        [...libraries].every(
          (library) => evaluatorOf(inbound, mode, library).decide(input).isAllowed,
        ),
    };
  };
}

function notesOf(
  mesh: Told,
  workload: Workload,
  libraries: ReadonlySet<GrpcLibrary>,
): readonly string[] {
  const lines = ofWorkload(mesh, workload, libraries).map(
    ({ shortfall: { kind, field, what, why }, policy: { namespace, name } }) =>
      `${kind} ${namespace}/${name}${field === undefined ? '' : ` ${field}`} ${what}: ${why}`,
  );
  const distinct = [...new Set(lines)];
  if (distinct.length === 0) return [];
  return [`it serves gRPC without a proxy; ${firstOf(distinct, MAX_NOTED)}`];
}

/** It asks everybody for one where a sidecar would let plaintext in. */
const lacksCertificate = ({ peerUri }: DecisionInput, mode: MtlsMode): boolean =>
  mode !== 'DISABLE' && peerUri === undefined;

/** Who has claims has shown a token, which nobody checks there. */
function bringsToken(input: DecisionInput, { tokens = [] }: InboundSpec): boolean {
  const claims = input.metadata(JWT_FILTER, ['payload']);
  return tokens.length > 0 && isPlainObject(claims) && Object.keys(claims).length > 0;
}
