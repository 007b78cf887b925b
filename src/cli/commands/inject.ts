// `weft inject` and `weft uninject`: the sidecar put into manifests, or taken out of them, without a cluster.
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import {
  injectWorkload,
  uninjectWorkload,
  type WorkloadOutcome,
} from '@weft/controlplane/inject/inject-workload';
import type { InjectionSettings } from '@weft/controlplane/inject/settings';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import { formatProblem } from '@weft/model/problem';
import { Option, type Command } from 'commander';
import { editManifests, type Note } from '../inject/edit-manifests.ts';
import {
  addInjectionOptions,
  type InjectionFlags,
  injectionSettingsOf,
} from '../inject/injection-options.ts';
import { complain, examples } from '../output.ts';

interface FileFlags {
  readonly filename: readonly string[];
}

interface InjectFlags extends FileFlags, InjectionFlags {
  readonly trustDomain: string;
  readonly rootNamespace: string;
}

async function readManifests(file: string): Promise<string> {
  if (file === '-') return readAll(process.stdin);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot read ${file}: ${why}`, { cause: error });
  }
}

/** @throws Error that names the option and what to write. */
function settingsOf(flags: InjectFlags): InjectionSettings {
  const trustDomain = parseTrustDomain(flags.trustDomain);
  if (trustDomain === undefined) {
    throw new Error(
      `--trust-domain "${flags.trustDomain}" is no trust domain; write a DNS name: cluster.local`,
    );
  }
  return injectionSettingsOf(flags, { trustDomain, rootNamespace: flags.rootNamespace });
}

/** All or nothing reaches standard output: what follows in the pipe may be `kubectl apply`. */
async function editFiles(
  { filename }: FileFlags,
  done: string,
  edit: (manifest: PlainObject) => WorkloadOutcome,
): Promise<void> {
  const texts: string[] = [];
  const problems: string[] = [];
  for (const file of filename) {
    const name = file === '-' ? '(standard input)' : file;
    const edited = editManifests(name, await readManifests(file), edit);
    texts.push(edited.text);
    problems.push(...edited.problems.map(formatProblem));
    for (const note of edited.notes) report(note, done);
  }
  if (problems.length > 0) {
    for (const problem of problems) complain(problem);
    throw new Error(`nothing was written: ${problems.length} problems`);
  }
  process.stdout.write(joined(texts));
}

function joined(texts: readonly string[]): string {
  const ended = texts.map((text) => (text === '' || text.endsWith('\n') ? text : `${text}\n`));
  return ended.reduce(
    (all, text) => (all === '' || text.startsWith('---') ? all + text : `${all}---\n${text}`),
    '',
  );
}

function report({ object, outcome }: Note, done: string): void {
  switch (outcome.kind) {
    case 'changed':
      complain(`${object}: ${done}`);
      for (const warning of outcome.warnings) complain(`${object}: warning: ${warning}`);
      return;
    case 'left':
      complain(`${object}: left as it is: ${outcome.reason}`);
      return;
    case 'refused':
    case 'other':
      return;
  }
  outcome satisfies never;
}

const fileOption = (): Option =>
  new Option('-f, --filename <file...>', 'manifests; - for standard input').makeOptionMandatory();

export function addInjectCommands(program: Command): void {
  addInjectionOptions(program.command('inject'))
    .description('put the sidecar into the workloads of manifests, as the webhook would')
    .addOption(fileOption())
    .option('--trust-domain <name>', 'of the mesh', 'cluster.local')
    .option('--root-namespace <name>', 'where the control plane lives', 'weft-system')
    .addHelpText(
      'after',
      examples(
        'weft inject -f deployment.yaml | kubectl apply -f -',
        'kubectl get deployment web -o yaml | weft inject -f - | kubectl apply -f -',
      ),
    )
    .action((flags: InjectFlags) => {
      const settings = settingsOf(flags);
      return editFiles(flags, 'injected', (manifest) => injectWorkload(manifest, settings));
    });
  program
    .command('uninject')
    .description('take the sidecar out of the workloads of manifests')
    .addOption(fileOption())
    .addHelpText('after', examples('weft uninject -f injected.yaml'))
    .action((flags: FileFlags) => editFiles(flags, 'uninjected', uninjectWorkload));
}
