// What of a request chooses its endpoint, on the wire.
import type { HashRule } from '@weft/model/traffic/call-types';
import type { PlainMessage } from '../registry.ts';
import { isSet, message, oneOf, type Read, requiredText, text } from './fields.ts';
import { encodeDuration, nonEmpty, requiredDurationMs } from './well-known.ts';

export function encodeHashPolicy(policy: HashRule): PlainMessage {
  switch (policy.kind) {
    case 'header':
      return { header: { header_name: policy.name } };
    case 'cookie': {
      const { name, path, ttlMs } = policy;
      const ttl = ttlMs === undefined ? undefined : encodeDuration(ttlMs);
      return { cookie: { name, ttl, path: nonEmpty(path) } };
    }
    default:
      return policy satisfies never;
  }
}

export const readHashPolicy: Read<HashRule> = (fields) => {
  switch (oneOf(fields, 'policy_specifier')) {
    case 'header':
      return message(fields, 'header', (header) => ({
        kind: 'header',
        name: requiredText(header, 'header_name'),
      }));
    case 'cookie':
      return message(fields, 'cookie', readCookie);
    default:
      return undefined;
  }
};

const readCookie: Read<HashRule> = (fields) => {
  const name = requiredText(fields, 'name');
  const path = text(fields, 'path');
  const ttlMs = isSet(fields, 'ttl') ? requiredDurationMs(fields, 'ttl') : undefined;
  return { kind: 'cookie', name, path, ...(ttlMs !== undefined && { ttlMs }) };
};
