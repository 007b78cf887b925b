// Makes the manifests of an installation: by Helm with its values, or the plain ones that were rendered with the defaults.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const deploy = fileURLToPath(new URL('../../../deploy', import.meta.url));
export const CHART = join(deploy, 'helm', 'weft');
export const PLAIN_MANIFESTS = join(deploy, 'manifests', 'weft.yaml');
export const DEFAULT_NAMESPACE = 'weft-system';
const RELEASE = 'weft';
/** 16 MiB: everything rendered is below 100 KiB. */
const MAX_OUTPUT_BYTES = 16_777_216;
const run = promisify(execFile);

export interface RenderOptions {
  /** Path of Helm; absent: what is on the PATH. */
  readonly helm?: string;
  readonly namespace: string;
  /** Files of values, the later over the earlier. */
  readonly values: readonly string[];
  /** `name=value`, over every file. */
  readonly set: readonly string[];
}

export interface Rendered {
  readonly by: 'helm' | 'defaults';
  readonly text: string;
}

const onPath = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

/** The control plane needs no right that `restricted` would take from it. What Helm renders begins with a separator. */
const namespaceManifest = (name: string): string => `apiVersion: v1
kind: Namespace
metadata:
  name: ${name}
  labels:
    app.kubernetes.io/name: weft
    app.kubernetes.io/part-of: weft
    pod-security.kubernetes.io/enforce: restricted
    weft.dev/injection: disabled
`;

async function byHelm(helm: string, options: RenderOptions): Promise<string> {
  const { namespace, values, set } = options;
  const args = ['template', RELEASE, CHART, '--namespace', namespace];
  for (const file of values) args.push('--values', file);
  for (const one of set) args.push('--set', one);
  try {
    const { stdout } = await run(helm, args, { maxBuffer: MAX_OUTPUT_BYTES });
    return namespaceManifest(namespace) + stdout;
  } catch (cause) {
    const said =
      cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    throw new Error(`Cannot render the chart: ${said}`, { cause });
  }
}

/** @throws Error with the cure when Helm refuses a value, or there is none and one is asked for. */
export async function renderManifests(options: RenderOptions): Promise<Rendered> {
  const { helm = onPath('helm'), namespace, values, set } = options;
  if (!existsSync(CHART)) {
    throw new Error(
      `Cannot find the chart at ${CHART}: images hold none; run this from a checkout of Weft`,
    );
  }
  if (helm !== undefined) return { by: 'helm', text: await byHelm(helm, options) };
  const isDefault = values.length === 0 && set.length === 0 && namespace === DEFAULT_NAMESPACE;
  if (!isDefault) {
    throw new Error(
      'Cannot change values without Helm: install it (helm.sh) or name it with --helm PATH; without --values, --set and --namespace the defaults are installed',
    );
  }
  return { by: 'defaults', text: await readFile(PLAIN_MANIFESTS, 'utf8') };
}
