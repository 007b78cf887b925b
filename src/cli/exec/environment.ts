// Decides which variables the application gets of which credentials, and refuses what no environment can hold.
import { isDnsLabel } from '@weft/model/identity';
import { InvalidArgumentError } from 'commander';
import type { FetchedCredential } from './credential-client.ts';

/** `DB_PASSWORD=db/password`: one variable of one key. */
export interface EnvMapping {
  readonly variable: string;
  readonly credential: string;
  readonly key: string;
}

const MAX_KEY = 253;

const isVariable = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(text);
const isKey = (text: string): boolean =>
  text.length <= MAX_KEY && /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(text);

/** They decide what the application runs, or who it is told to be. */
const NEVER_SET: ReadonlySet<string> = new Set([
  'PATH',
  'HOME',
  'IFS',
  'NODE_OPTIONS',
  'BASH_ENV',
  'ENV',
]);

export function parseEnvMapping(text: string): EnvMapping {
  const equals = text.indexOf('=');
  const slash = text.indexOf('/', equals);
  const variable = text.slice(0, Math.max(equals, 0));
  const credential = text.slice(equals + 1, Math.max(slash, 0));
  const key = text.slice(slash + 1);
  if (
    equals === -1 ||
    slash === -1 ||
    !isVariable(variable) ||
    !isDnsLabel(credential) ||
    !isKey(key)
  ) {
    throw new InvalidArgumentError(
      `"${text}" maps nothing; write VARIABLE=CREDENTIAL/KEY: DB_PASSWORD=db/password`,
    );
  }
  if (NEVER_SET.has(variable) || variable.startsWith('LD_')) {
    throw new InvalidArgumentError(
      `${variable} decides what runs, and is no place for a credential`,
    );
  }
  return { variable, credential, key };
}

export type Environment =
  | { readonly ok: true; readonly variables: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly reason: string };

/** @returns a reason that names variable and key, and no value. */
export function environmentOf(
  mappings: readonly EnvMapping[],
  held: ReadonlyMap<string, FetchedCredential>,
): Environment {
  const variables = new Map<string, string>();
  for (const { variable, credential, key } of mappings) {
    const refuse = (why: string): Environment => ({
      ok: false,
      reason: `${variable}: ${credential}/${key} ${why}`,
    });
    const found = held.get(credential);
    if (found?.binary.includes(key) === true) return refuse('is no text');
    const value = found?.values.get(key);
    if (value === undefined) return refuse('does not exist');
    if (value.includes('\0')) return refuse('holds a zero byte, which ends a variable');
    variables.set(variable, withoutLineEnd(value));
  }
  return { ok: true, variables };
}

/** As a shell does it: files and Secrets often end with one. */
function withoutLineEnd(text: string): string {
  if (text.endsWith('\r\n')) return text.slice(0, -2);
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}
