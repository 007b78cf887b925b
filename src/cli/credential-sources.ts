// Reads the file of `weft control-plane --credential-sources`: where credentials are, and whose bindings may name it.
import { readFile } from 'node:fs/promises';
import {
  parseSourceConfigs,
  type SourceConfig,
} from '@weft/controlplane/credentials/sources/source-config';
import { readYamlDocument } from '@weft/controlplane/registry/yaml-document';
import { errorText } from '@weft/model/error-text';
import { describeProblem } from '@weft/model/problem';

/** @throws Error with every problem, its field and cure. */
export async function readCredentialSources(path: string): Promise<readonly SourceConfig[]> {
  const { value, findings } = readYamlDocument(await textOf(path));
  const parsed = findings.length > 0 ? undefined : parseSourceConfigs(value);
  if (parsed?.ok === true) return parsed.value;
  const problems =
    parsed === undefined
      ? findings.map(({ line, message }) => `line ${line}: ${message}`)
      : parsed.problems.map(describeProblem);
  throw new Error(`Cannot use --credential-sources ${path}: ${problems.join('; ')}`);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`Cannot use --credential-sources ${path}: ${errorText(cause)}`, { cause });
  }
}
