// `weft credentials`: where bindings are in force, and who was handed what; no value is ever shown, for none is known here.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type Command, Option } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { complain, examples, print, printJson, table } from '../output.ts';
import type { HostPort } from '../parse.ts';

interface Flags {
  readonly admin: HostPort;
  readonly json?: boolean;
}

interface AuditFlags extends Flags {
  readonly credential?: string;
  readonly identity?: string;
  readonly act?: string;
}

const text = (value: unknown): string => {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : '-';
};

/** @throws Error when a control plane of another version answers. */
async function askList(
  admin: HostPort,
  path: string,
  list: string,
): Promise<{ readonly answer: PlainObject; readonly entries: readonly PlainObject[] }> {
  const answer = await askAdminJson(admin, path);
  const entries = isPlainObject(answer) ? answer[list] : undefined;
  if (!isPlainObject(answer) || !Array.isArray(entries)) {
    const where = `${admin.host}:${admin.port}`;
    throw new Error(`Cannot read the answer of ${where}: it is no control plane of this version`);
  }
  return { answer, entries: entries.filter(isPlainObject) };
}

const STATUS_HEADER = ['BINDING', 'ACCEPTED', 'STATE', 'IN FORCE', 'SINCE', 'WHY'] as const;

async function status({ admin, json }: Flags): Promise<void> {
  const { answer, entries } = await askList(admin, '/v1/credentials', 'bindings');
  if (json === true) return printJson(answer);
  if (entries.length === 0) return complain('there are no bindings of credentials');
  const rows = entries.map((binding) => {
    const problems = Array.isArray(binding['problems']) ? binding['problems'] : [];
    return [
      `${text(binding['namespace'])}/${text(binding['name'])}`,
      binding['isAccepted'] === true ? 'yes' : 'no',
      text(binding['state']),
      text(binding['enforced']),
      text(binding['since']),
      [text(binding['why'] ?? ''), ...problems.map(text)].filter((one) => one !== '-').join('; '),
    ];
  });
  print(table([STATUS_HEADER, ...rows]));
}

const AUDIT_HEADER = [
  'AT',
  'ACT',
  'IDENTITY',
  'PROXY',
  'CREDENTIAL',
  'VERSION',
  'BY',
  'WHAT ELSE',
] as const;

async function audit(flags: AuditFlags): Promise<void> {
  const { admin, json } = flags;
  const { entries } = await askList(admin, '/v1/credentials/audit', 'lines');
  const wanted = (['credential', 'identity', 'act'] as const).flatMap((key) =>
    flags[key] === undefined ? [] : [[key, flags[key]] as const],
  );
  const lines = entries.filter((line) => wanted.every(([key, value]) => line[key] === value));
  if (json === true) return printJson({ lines });
  if (lines.length === 0) return complain('nothing was handed over since the control plane began');
  const rows = lines.map((line) => [
    text(line['at']),
    text(line['act']),
    text(line['identity']),
    text(line['proxy']),
    text(line['credential']),
    text(line['version']),
    text(line['way']),
    [text(line['receiver']), text(line['reason']), countOf(line)]
      .filter((one) => one !== '-')
      .join(' '),
  ]);
  print(table([AUDIT_HEADER, ...rows]));
}

const countOf = (line: PlainObject): string =>
  typeof line['count'] === 'number' ? `×${line['count']}` : '-';

export function addCredentialsCommands(program: Command): void {
  const credentials = program
    .command('credentials')
    .description('which bindings of credentials are in force, and who was handed what');
  credentials
    .command('status')
    .description('each binding: at how many of its workloads its credentials are in force')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft credentials status --admin 127.0.0.1:15014'))
    .action(status);
  credentials
    .command('audit')
    .description('the newest hand-overs, withdrawals and refusals; all of them are in the log')
    .addOption(controlPlaneAdminOption())
    .option('--credential <name>', 'of this name alone')
    .option('--identity <spiffe-id>', 'of this identity alone')
    .addOption(
      new Option('--act <act>', 'these alone').choices([
        'handed-over',
        'handed-on',
        'withdrawn',
        'refused',
      ]),
    )
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft credentials audit --credential db'))
    .action(audit);
}
