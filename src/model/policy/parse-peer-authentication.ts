// Reads a PeerAuthentication from its manifest.
import type { Result } from '../problem.ts';
import { parseEnvelope, parseSelector } from './parse-metadata.ts';
import { isPlainObject, Reader, shown, type PlainObject } from './reader.ts';
import type { MtlsMode, PeerAuthentication } from './types.ts';

const MODES: ReadonlyMap<string, MtlsMode | undefined> = new Map([
  ['UNSET', undefined],
  ['DISABLE', 'DISABLE'],
  ['PERMISSIVE', 'PERMISSIVE'],
  ['STRICT', 'STRICT'],
]);

/** Source of the rules: Istio's validation of PeerAuthentication; see docs/policy.md. */
export function parsePeerAuthentication(object: PlainObject): Result<PeerAuthentication> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, 'PeerAuthentication');
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', ['selector', 'mtls', 'portLevelMtls']) ?? {};
  const selector = parseSelector(reader, spec['selector'], 'spec.selector');
  const mode = parseMode(reader, spec['mtls'], 'spec.mtls');
  const portModes = parsePortModes(reader, spec['portLevelMtls'], selector !== undefined);
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return {
    ok: true,
    value: { namespace, name, createdAtMs, selector, mode, portModes },
    problems: [],
  };
}

function parseMode(reader: Reader, value: unknown, field: string): MtlsMode | undefined {
  const mtls = reader.object(value, field, ['mode']);
  const text = reader.string(mtls?.['mode'], `${field}.mode`);
  if (text === undefined) return undefined;
  if (!MODES.has(text)) {
    reader.error(
      `${field}.mode`,
      'unknown-mode',
      `unknown mode ${shown(text)}`,
      `write one of ${[...MODES.keys()].join(', ')}`,
    );
  }
  return MODES.get(text);
}

function parsePortModes(
  reader: Reader,
  value: unknown,
  hasSelector: boolean,
): ReadonlyMap<number, MtlsMode | undefined> {
  const field = 'spec.portLevelMtls';
  const modes = new Map<number, MtlsMode | undefined>();
  if (value === undefined) return modes;
  if (!isPlainObject(value)) {
    reader.error(
      field,
      'wrong-type',
      'expected a mapping of ports',
      'write for example 8080: {mode: DISABLE}',
    );
    return modes;
  }
  if (!hasSelector) {
    reader.error(
      field,
      'no-selector',
      'port modes need a selector',
      'set spec.selector.matchLabels',
    );
  }
  const entries = Object.entries(value);
  if (entries.length === 0) reader.error(field, 'empty-list', 'must not be empty');
  for (const [text, entry] of entries) {
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > 65_535 || String(port) !== text) {
      reader.error(
        `${field}.${text}`,
        'bad-port',
        `${shown(text)} is no port`,
        'write a port from 1 to 65535',
      );
    }
    modes.set(port, parseMode(reader, entry, `${field}.${text}`));
  }
  return modes;
}
