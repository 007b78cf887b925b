// Reads the file of `weft control-plane --registries`: how registries of images are reached.
import { readFile } from 'node:fs/promises';
import {
  parseRegistriesConfig,
  type RegistriesConfig,
} from '@weft/controlplane/images/registries-config';
import { readYamlDocument } from '@weft/controlplane/registry/yaml-document';
import { errorText } from '@weft/model/error-text';
import { describeProblem } from '@weft/model/problem';

/** @throws Error with every problem, its field and cure. */
export async function readRegistries(path: string): Promise<RegistriesConfig> {
  const said = `Cannot use --registries ${path}`;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`${said}: ${errorText(cause)}`, { cause });
  }
  const { value, findings } = readYamlDocument(text);
  if (findings.length > 0) {
    const problems = findings.map(({ line, message }) => `line ${line}: ${message}`);
    throw new Error(`${said}: ${problems.join('; ')}`);
  }
  const parsed = parseRegistriesConfig(value);
  if (parsed.ok) return parsed.value;
  throw new Error(`${said}: ${parsed.problems.map(describeProblem).join('; ')}`);
}
