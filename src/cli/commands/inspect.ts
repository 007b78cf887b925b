// `weft status`, `config-dump`, `certs`, `ca`: what runs, what is configured, who is trusted, asked of the admin endpoints.
import { Option, type Command } from 'commander';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { askAdminJson, type AdminTarget } from '../admin-client.ts';
import { controlPlaneAdminOption, sidecarAdminOption } from '../admin-option.ts';
import { examples, print, printJson, table } from '../output.ts';
import { type HostPort, parseDuration } from '../parse.ts';
import { waitUntilReady } from '../wait-ready.ts';

const listOf = (value: unknown, key: string): readonly PlainObject[] => {
  const list = isPlainObject(value) ? value[key] : undefined;
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};
const text = (value: unknown): string =>
  value === undefined || value === null
    ? '-'
    : typeof value === 'string'
      ? value
      : JSON.stringify(value);

/** Sessions, policies and problems in tables; `--json` gives the answers themselves. */
async function status(options: {
  readonly admin: HostPort;
  readonly json?: boolean;
}): Promise<void> {
  const [state, sessions, policies, problems] = await Promise.all(
    ['/v1/status', '/v1/sessions', '/v1/policies', '/v1/problems'].map((path) =>
      askAdminJson(options.admin, path),
    ),
  );
  if (options.json === true) {
    printJson({ status: state, sessions, policies, problems });
    return;
  }
  if (isPlainObject(state)) {
    print(
      Object.entries(state)
        .map(([key, value]) => `${key}: ${text(value)}`)
        .join('\n'),
    );
  }
  const proxies = listOf(sessions, 'sessions');
  print(`\n${proxies.length} proxies connected`);
  if (proxies.length > 0) {
    print(table([['PROXY', 'IDENTITY', 'CONNECTED SINCE', 'REFUSED'], ...proxies.map(sessionRow)]));
  }
  const rows = listOf(policies, 'policies');
  if (rows.length > 0) {
    print('');
    print(table([['POLICY', 'ACTION', 'SELECTS', 'ENFORCED'], ...rows.map(policyRow)]));
  }
  const found = listOf(problems, 'problems');
  print(`\n${found.length} problems`);
  for (const problem of found) print(`  ${text(problem['text'] ?? problem['message'])}`);
}

function sessionRow(session: PlainObject): readonly string[] {
  const refused = listOf(session, 'kinds').filter(
    (kind) => kind['lastNack'] !== undefined && kind['lastNack'] !== null,
  );
  return [
    text(session['proxyId']),
    text(session['identity']),
    text(session['connectedAt']),
    refused.length === 0 ? '-' : refused.map((kind) => text(kind['kind'])).join(','),
  ];
}

function policyRow(policy: PlainObject): readonly string[] {
  const selects = policy['workloads'];
  return [
    `${text(policy['kind'])} ${text(policy['namespace'])}/${text(policy['name'])}`,
    text(policy['action']),
    Array.isArray(selects) ? `${selects.length} workloads` : '-',
    text(policy['enforced']),
  ];
}

async function printAnswer(target: AdminTarget, path: string): Promise<void> {
  printJson(await askAdminJson(target, path));
}

export function addInspectCommands(program: Command): void {
  program
    .command('status')
    .description('what the control plane knows: proxies, policies in force, problems')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft status', 'weft status --admin 127.0.0.1:15014 --json'))
    .action(status);
  program
    .command('config-dump')
    .description('what a sidecar runs with; keys are never in it')
    .addOption(sidecarAdminOption())
    .addHelpText('after', examples('weft config-dump --admin 127.0.0.1:15000'))
    .action((options: { readonly admin: HostPort }) => printAnswer(options.admin, '/config_dump'));
  program
    .command('certs')
    .description("a sidecar's certificate and the roots it trusts, with expiry")
    .addOption(sidecarAdminOption())
    .addHelpText('after', examples('weft certs --admin 127.0.0.1:15000'))
    .action((options: { readonly admin: HostPort }) => printAnswer(options.admin, '/certs'));
  program
    .command('ready')
    .description('whether a sidecar is ready; exits 1 with the reason when it is not')
    .addOption(sidecarAdminOption())
    .addOption(
      new Option('--wait <duration>', 'ask again for so long')
        .argParser(parseDuration)
        .default(0, '0s'),
    )
    .addHelpText('after', examples('weft ready --admin 127.0.0.1:15000', 'weft ready --wait 60s'))
    .action(async (options: { readonly admin: HostPort; readonly wait: number }) => {
      const answer = await waitUntilReady(options.admin, { waitMs: options.wait });
      print(answer.body.trim());
      if (answer.status !== 200) process.exitCode = 1;
    });
}
