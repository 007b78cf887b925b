// `weft policy explain`: says who may do what and why, from a folder of manifests or from a running control plane.
import { explainCalls, formatQuestionProblems } from '@weft/model/policy/explain-calls';
import { formatExplanation, ruleText } from '@weft/model/policy/format-explanation';
import { DEFAULT_QUESTION, writeQuestion, type CallQuestion } from '@weft/model/policy/question';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { Option, type Command } from 'commander';
import { askAdmin, askAdminJson, describeTarget } from '../admin-client.ts';
import { examples, print, printJson } from '../output.ts';
import { collect, parseHostPort, parsePair, parsePort, type HostPort } from '../parse.ts';
import {
  addMeshOptions,
  compileManifests,
  loadManifests,
  type MeshFlags,
} from '../policy/load-manifests.ts';
import { warnOfErrors } from './policy-compare.ts';

interface Flags extends MeshFlags {
  readonly from?: string;
  readonly plaintext?: boolean;
  readonly to?: string;
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly header?: readonly (readonly [string, string])[];
  readonly claim?: readonly (readonly [string, string])[];
  readonly sourceIp?: string;
  readonly sni?: string;
  readonly tcp?: boolean;
  readonly files?: readonly string[];
  readonly admin?: HostPort;
  readonly requestId?: string;
  readonly json?: boolean;
}

const DENIED = 2;

const EXAMPLE = `
Exits 0 when the call is allowed everywhere, 2 when it is denied somewhere, 1 when it cannot be judged.
${examples(
  'weft policy explain --from shop/web --to shop/prices --method POST --path /shop.Prices/Get -f ./manifests',
  'weft policy explain --plaintext --to shop/stock --port 7070 --tcp -f ./manifests',
  'weft policy explain --from shop/web --to shop/prices --path /x --admin 127.0.0.1:15014',
  'weft policy explain --request-id ID --admin 127.0.0.1:15000     # a refusal that a sidecar remembers',
)}`;

async function explain(flags: Flags): Promise<void> {
  if (flags.requestId !== undefined) {
    await explainDenial(flags.requestId, flags);
    return;
  }
  const question = questionOf(flags);
  const answer =
    flags.admin === undefined
      ? await offline(question, flags)
      : await online(question, flags.admin);
  if (flags.json === true) printJson({ isAllowed: answer.isAllowed, answers: answer.answers });
  else print(answer.text);
  if (!answer.isAllowed) process.exitCode = DENIED;
}

function questionOf(flags: Flags): CallQuestion {
  const { from, plaintext, to, tcp } = flags;
  if (to === undefined) {
    throw new Error(
      'Cannot explain: --to is missing; write --to NAMESPACE/NAME, for example --to shop/prices',
    );
  }
  if ((from === undefined) !== (plaintext === true)) {
    throw new Error(
      'Cannot explain: say who calls, either --from NAMESPACE/SERVICE-ACCOUNT or --plaintext',
    );
  }
  if (tcp === true && (flags.method ?? flags.path ?? flags.header ?? flags.host) !== undefined) {
    throw new Error(
      'Cannot explain: --tcp has no --method, --path, --host or --header; leave them out',
    );
  }
  return {
    ...DEFAULT_QUESTION,
    from,
    to,
    protocol: tcp === true ? 'tcp' : 'http',
    port: flags.port,
    method: flags.method ?? DEFAULT_QUESTION.method,
    path: flags.path ?? DEFAULT_QUESTION.path,
    host: flags.host,
    headers: flags.header ?? [],
    claims: flags.claim ?? [],
    sourceIp: flags.sourceIp,
    sni: flags.sni,
  };
}

interface Answered {
  readonly isAllowed: boolean;
  readonly answers: readonly unknown[];
  readonly text: string;
}

async function offline(question: CallQuestion, flags: Flags): Promise<Answered> {
  const { files } = flags;
  if (files === undefined) {
    throw new Error(
      'Cannot explain: say where the policies are, either -f FOLDER or --admin HOST:PORT of a control plane',
    );
  }
  const manifests = await loadManifests(files);
  warnOfErrors(manifests.problems, files.join(', '));
  const registry = compileManifests(manifests.snapshot, flags, { isSupposing: true });
  const explained = explainCalls(registry, question);
  if (!explained.ok) throw new Error(`Cannot explain: ${formatQuestionProblems(explained)}`);
  return {
    isAllowed: explained.value.every(({ isAllowed }) => isAllowed),
    answers: explained.value,
    text: explained.value.map((one) => formatExplanation(question, one)).join('\n\n'),
  };
}

async function online(question: CallQuestion, admin: HostPort): Promise<Answered> {
  const path = `/v1/explain?${writeQuestion(question)}`;
  const { status, body } = await askAdmin(admin, path);
  const value: unknown = JSON.parse(body);
  if (!isPlainObject(value)) throw new Error(`Cannot explain: no answer of ours: ${body}`);
  if (status !== 200) {
    throw new Error(`Cannot explain: ${describeTarget(admin)} says ${String(value['error'])}`);
  }
  const { isAllowed, answers, text } = value;
  if (typeof isAllowed !== 'boolean' || !Array.isArray(answers) || typeof text !== 'string') {
    throw new Error(`Cannot explain: ${describeTarget(admin)} is no control plane of this version`);
  }
  return { isAllowed, answers, text };
}

/** One that a sidecar refused and still remembers. */
async function explainDenial(requestId: string, { admin, json }: Flags): Promise<void> {
  if (admin === undefined) {
    throw new Error(
      'Cannot explain: --request-id asks a sidecar; add --admin HOST:PORT of the one that refused',
    );
  }
  const path = `/denials?request-id=${encodeURIComponent(requestId)}`;
  const answer = await askAdminJson(admin, path);
  const found = isPlainObject(answer) ? answer['denials'] : undefined;
  const denials = Array.isArray(found) ? found.filter(isPlainObject) : [];
  if (denials.length === 0) {
    throw new Error(
      `Cannot explain: ${describeTarget(admin)} remembers no refusal with the id ${requestId}; it keeps the last 1000 since its start, ask the sidecar of the workload that was called`,
    );
  }
  if (json === true) printJson({ isAllowed: false, denials });
  else print(denials.map(denialText).join('\n\n'));
  process.exitCode = DENIED;
}

const text = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '-');

function denialText(denial: PlainObject): string {
  const { method, path } = denial;
  const what = method === undefined ? 'a TCP connection' : `${text(method)} ${text(path)}`;
  const lines = [
    `DENIED  ${text(denial['source'])} (${text(denial['sourceIp'])}) → port ${text(denial['destinationPort'])}: ${what}`,
    `  at        ${text(denial['time'])}`,
    `  because   ${typeof denial['policy'] === 'string' ? `${ruleText(denial['policy'])} denies it` : text(denial['text'])}`,
  ];
  if (denial['nearest'] !== undefined) lines.push(`  nearest   ${text(denial['nearest'])}`);
  return lines.join('\n');
}

export const filesOption = (): Option =>
  new Option('-f, --files <path...>', 'files or folders of manifests');

export function addExplainCommand(policy: Command): void {
  addMeshOptions(policy.command('explain'))
    .description('say whether a call is allowed, and why; exits 2 when it is denied')
    .option('--from <identity>', 'the caller: NAMESPACE/SERVICE-ACCOUNT or spiffe://…')
    .option('--plaintext', 'the caller has no certificate')
    .option('--to <namespace/name>', 'a Pod, a Service, an app label, or NAMESPACE/KEY=VALUE,…')
    .addOption(
      new Option('--port <n>', "the Service's or the workload's; default: each").argParser(
        parsePort,
      ),
    )
    .option('--method <name>', 'default GET')
    .option('--path <path>', 'with its query; default /')
    .option('--host <name>', 'default: the name that is called')
    .addOption(new Option('--header <name=value>', 'may be repeated').argParser(collect(parsePair)))
    .addOption(
      new Option('--claim <name=value>', 'of a valid token, as iss, sub, or a.b').argParser(
        collect(parsePair),
      ),
    )
    .option('--source-ip <ip>', "the caller's address; default: that of its Pod where there is one")
    .option('--sni <name>', 'the server name of its handshake')
    .option('--tcp', 'a connection without HTTP')
    .addOption(filesOption())
    .addOption(
      new Option(
        '--admin <host:port>',
        'ask a running control plane (with --request-id: a sidecar)',
      ).argParser((value: string) => parseHostPort(value, '127.0.0.1')),
    )
    .option('--request-id <id>', 'a refusal that happened, from x-request-id')
    .option('--json', 'as JSON')
    .addHelpText('after', EXAMPLE)
    .action(explain);
}
