// `weft policy refused-egress`: what workloads called outside the mesh and were refused, asked of the control plane.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Command } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { complain, examples, print, printJson, table } from '../output.ts';
import type { HostPort } from '../parse.ts';

interface Flags {
  readonly admin: HostPort;
  readonly json?: boolean;
}

/** What a host needs before it is called. */
const HELP = `${examples('weft policy refused-egress', 'weft policy refused-egress shop')}
egress-not-registered: no ExternalService names the host, and the outbound policy is REGISTRY_ONLY.
egress-not-allowed: one does, and its allowedCallers do not have this identity.
Sidecars report every 10 s unless the control plane's --report-interval says otherwise.
`;

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

async function refusedEgress(namespace: string | undefined, { admin, json }: Flags): Promise<void> {
  const answer = await askAdminJson(admin, '/v1/refused-egress');
  const all = isPlainObject(answer) && Array.isArray(answer['refused']) ? answer['refused'] : [];
  const seen = all
    .filter(isPlainObject)
    .filter((one) => namespace === undefined || textOf(one['workload']).endsWith(`.${namespace}`));
  if (json === true) printJson({ refused: seen });
  else if (seen.length === 0) complain('nothing has been refused');
  else print(table([HEAD, ...seen.map(rowOf)]));
}

const HEAD = ['WORKLOAD', 'HOST', 'PORT', 'REASON', 'COUNT', 'LAST SEEN'];

const rowOf = (one: PlainObject): readonly string[] => [
  ...['workload', 'host'].map((key) => textOf(one[key])),
  String(one['port']),
  textOf(one['reason']),
  String(one['count']),
  textOf(one['lastSeen']),
];

export function addRefusedEgressCommand(policy: Command): void {
  policy
    .command('refused-egress')
    .description('what workloads called outside the mesh and were refused')
    .argument('[namespace]', 'of the workloads that called')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', HELP)
    .action(refusedEgress);
}
