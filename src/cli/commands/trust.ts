// `weft trust`: which trust domains are believed besides our own, how old their keys are, and the keys that others are to have of us.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Command } from 'commander';
import { askAdminJson, describeTarget } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { complain, examples, print, printJson, table } from '../output.ts';
import type { HostPort } from '../parse.ts';

interface Flags {
  readonly admin: HostPort;
  readonly json?: boolean;
}

const HEADER = [
  'TRUST DOMAIN',
  'BELIEVED',
  'ROOTS',
  'SEQUENCE',
  'FETCHED',
  'BELIEVED UNTIL',
  'WHY NOT',
] as const;

const text = (value: unknown): string => {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : '-';
};

async function list({ admin, json }: Flags): Promise<void> {
  const answer = await askAdminJson(admin, '/v1/federation');
  const entries = isPlainObject(answer) ? answer['federations'] : undefined;
  if (!isPlainObject(answer) || !Array.isArray(entries)) {
    const where = describeTarget(admin);
    throw new Error(`Cannot read the answer of ${where}: it is no control plane of this version`);
  }
  if (json === true) return printJson(answer);
  const { endpoint } = answer;
  if (isPlainObject(endpoint)) {
    const { address, profile, sequence } = endpoint;
    const what = `${text(profile)}, sequence ${text(sequence)}`;
    complain(`${text(answer['trustDomain'])} is served at https://${text(address)}/ (${what})`);
  }
  if (entries.length === 0) return complain('no other trust domain is believed');
  print(table([HEADER, ...entries.filter(isPlainObject).map(rowOf)]));
}

const rowOf = (one: PlainObject): readonly string[] => [
  text(one['trustDomain']),
  one['isInForce'] === true ? 'yes' : 'no',
  text(one['roots']),
  text(one['sequence']),
  text(one['fetchedAt']),
  text(one['believedUntil']),
  text(one['failure']),
];

async function bundle({ admin }: Flags): Promise<void> {
  printJson(await askAdminJson(admin, '/v1/federation/bundle'));
}

export function addTrustCommands(program: Command): void {
  const trust = program
    .command('trust')
    .description('which trust domains are believed, and the keys that others are to have of ours');
  trust
    .command('list')
    .description('federated trust domains: whether they are believed, and how old their keys are')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft trust list --admin 127.0.0.1:15014'))
    .action(list);
  trust
    .command('bundle')
    .description('our SPIFFE bundle document, for the operators of another trust domain')
    .addOption(controlPlaneAdminOption())
    .addHelpText('after', examples('weft trust bundle > bundle.json'))
    .action(bundle);
}
