// Reads `spec.limits` of a TrafficPolicy: how large, how slow and of what kind requests may be.
import { isToken } from '../http-fields.ts';
import { type Reader, shown } from '../policy/reader.ts';
import type { RequestLimits } from './types.ts';
import { readCount, readDuration, readSize } from './values.ts';

/** Above it the sidecar itself refuses, whatever a policy says. */
const HEADER_BYTES = { min: 256, max: 65_536 };
const HEADERS = { min: 1, max: 100 };
const BODY_BYTES = { min: 0, max: 1_099_511_627_776 };
const BODY_TIMEOUT = { min: 100, max: 86_400_000 };
const MAX_NAMES = 64;

export function parseLimits(
  reader: Reader,
  value: unknown,
  field: string,
): RequestLimits | undefined {
  const object = reader.object(value, field, [
    'maxHeaderBytes',
    'maxHeaders',
    'maxBodyBytes',
    'bodyTimeout',
    'methods',
    'contentTypes',
  ]);
  if (object === undefined) return undefined;
  const at = (name: string): string => `${field}.${name}`;
  const maxHeaderBytes = readSize(
    reader,
    object['maxHeaderBytes'],
    at('maxHeaderBytes'),
    HEADER_BYTES,
  );
  const maxHeaders = readCount(reader, object['maxHeaders'], at('maxHeaders'), HEADERS);
  const maxBodyBytes = readSize(reader, object['maxBodyBytes'], at('maxBodyBytes'), BODY_BYTES);
  const bodyTimeoutMs = readDuration(
    reader,
    object['bodyTimeout'],
    at('bodyTimeout'),
    BODY_TIMEOUT,
  );
  const methods = parseMethods(reader, object['methods'], at('methods'));
  const contentTypes = parseTypes(reader, object['contentTypes'], at('contentTypes'));
  if (Object.keys(object).length === 0) {
    reader.error(field, 'no-limit', 'limits nothing', 'set a limit, or remove it');
  }
  return {
    ...(maxHeaderBytes !== undefined && { maxHeaderBytes }),
    ...(maxHeaders !== undefined && { maxHeaders }),
    ...(maxBodyBytes !== undefined && { maxBodyBytes }),
    ...(bodyTimeoutMs !== undefined && { bodyTimeoutMs }),
    ...(methods && { methods }),
    ...(contentTypes && { contentTypes }),
  };
}

function parseMethods(
  reader: Reader,
  value: unknown,
  field: string,
): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const methods = reader.strings(value, field, MAX_NAMES);
  if (methods.length === 0)
    reader.error(field, 'empty-list', 'allows no method', 'remove it to allow all');
  methods.forEach((method, index) => {
    if (isToken(method)) return;
    reader.error(
      `${field}[${index}]`,
      'bad-method',
      `${shown(method)} is no method`,
      'write for example GET',
    );
  });
  return methods;
}

function parseTypes(reader: Reader, value: unknown, field: string): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const types = reader.strings(value, field, MAX_NAMES);
  if (types.length === 0)
    reader.error(field, 'empty-list', 'allows no type', 'remove it to allow all');
  types.forEach((type, index) => {
    const [family = '', kind = '', ...more] = type.split('/');
    const isKind = kind === '*' || (isToken(kind) && !kind.includes('*'));
    if (more.length === 0 && isToken(family) && !family.includes('*') && isKind) return;
    const message = `${shown(type)} is no media type`;
    const cure = 'write for example "application/json" or "image/*", without parameters';
    reader.error(`${field}[${index}]`, 'bad-content-type', message, cure);
  });
  return types.map((type) => type.toLowerCase());
}
