// Reads a CredentialBinding from its manifest.
import { isDnsSubdomain } from '../identity.ts';
import { parseEnvelope, parseSelector } from '../policy/parse-metadata.ts';
import { type PlainObject, Reader, shown } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { parseCredential } from './parse-credential.ts';
import { type CredentialBinding, type CredentialSpec, MAX_CREDENTIALS } from './types.ts';

export const CREDENTIAL_BINDING_API_VERSION = 'security.weft.dev/v1';
const MAX_SERVICE_ACCOUNTS = 64;

/** One that is wrong in any part grants nothing at all. */
export function parseCredentialBinding(object: PlainObject): Result<CredentialBinding> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, 'CredentialBinding');
  if (object['apiVersion'] !== CREDENTIAL_BINDING_API_VERSION) {
    const cure = `write ${CREDENTIAL_BINDING_API_VERSION}`;
    reader.error('apiVersion', 'unknown-api-version', 'is no version of CredentialBinding', cure);
  }
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', ['serviceAccounts', 'selector', 'credentials']) ??
    {};
  const serviceAccounts = parseServiceAccounts(reader, spec['serviceAccounts']);
  const selector = parseSelector(reader, spec['selector'], 'spec.selector');
  const credentials = parseCredentials(reader, spec['credentials']);
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return {
    ok: true,
    value: { namespace, name, createdAtMs, serviceAccounts, selector, credentials },
    problems: [],
  };
}

/** Needed: labels are whatever a Pod's author writes, and what connects is known by its service account alone. */
function parseServiceAccounts(reader: Reader, value: unknown): readonly string[] {
  const field = 'spec.serviceAccounts';
  const names = reader.strings(value, field, MAX_SERVICE_ACCOUNTS);
  if (names.length === 0) {
    const message = 'nobody is named';
    reader.error(field, 'no-identity', message, 'write the service accounts that may have it');
  }
  names.forEach((name, index) => {
    if (isDnsSubdomain(name)) return;
    const message = `${shown(name)} is no name of a service account`;
    const cure = 'write names of this namespace, each in full';
    reader.error(`${field}[${index}]`, 'bad-name', message, cure);
  });
  return [...new Set(names)];
}

function parseCredentials(reader: Reader, value: unknown): readonly CredentialSpec[] {
  const field = 'spec.credentials';
  const entries = reader.list(value, field, MAX_CREDENTIALS) ?? [];
  if (entries.length === 0) {
    reader.error(field, 'no-credentials', 'nothing is granted', 'write name, source and ways');
  }
  const names = new Set<string>();
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const credential = parseCredential(reader, entry, at);
    if (credential === undefined) return [];
    if (names.has(credential.name)) {
      const message = `${shown(credential.name)} is there twice`;
      reader.error(`${at}.name`, 'duplicate-name', message, 'give it another name');
    }
    names.add(credential.name);
    return [credential];
  });
}
