// Reads a TlsTermination from its manifest.
import { parseEnvelope, parseSelector } from '../policy/parse-metadata.ts';
import { Reader, type PlainObject } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { parseTlsRules, TLS_RULE_FIELDS } from './parse-tls-rules.ts';
import type { TlsTermination } from './types.ts';

/** Ports of one workload. */
const MAX_PORTS = 64;
export const TLS_TERMINATION_VERSION = 'security.weft.dev/v1';

export function parseTlsTermination(object: PlainObject): Result<TlsTermination> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, 'TlsTermination');
  if (object['apiVersion'] !== TLS_TERMINATION_VERSION) {
    const cure = `write ${TLS_TERMINATION_VERSION}`;
    reader.error('apiVersion', 'unknown-api-version', 'is not this kind’s', cure);
  }
  const spec = reader.object(object['spec'], 'spec', ['selector', 'ports', ...TLS_RULE_FIELDS]);
  if (spec === undefined)
    reader.error('spec', 'missing', 'is missing', 'name ports and certificates');
  const selector = parseSelector(reader, spec?.['selector'], 'spec.selector');
  const ports = parsePorts(reader, spec?.['ports']);
  const rules = parseTlsRules(reader, spec ?? {}, 'spec');
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return {
    ok: true,
    value: { namespace, name, createdAtMs, selector, ports, ...rules },
    problems: [],
  };
}

function parsePorts(reader: Reader, value: unknown): readonly number[] {
  const field = 'spec.ports';
  if (value === undefined) return [];
  const entries = reader.list(value, field, MAX_PORTS) ?? [];
  if (entries.length === 0)
    reader.error(field, 'missing', 'names no port', 'name some: [8443]; or leave it out for all');
  const ports = entries.flatMap((entry, index) => {
    const isPort =
      typeof entry === 'number' && Number.isInteger(entry) && entry >= 1 && entry <= 65_535;
    if (isPort) return [entry];
    reader.error(`${field}[${index}]`, 'bad-port', 'is no port', 'write one from 1 to 65535');
    return [];
  });
  return [...new Set(ports)].sort((a, b) => a - b);
}
