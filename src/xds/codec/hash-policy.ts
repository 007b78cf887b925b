// What of a request chooses its endpoint, on the wire.
import type { PlainMessage } from '../registry.ts';
import type { HashPolicy } from '../resources/route.ts';
import { flag, isSet, message, oneOf, type Read, report, requiredText, text } from './fields.ts';
import { encodeDuration, nonEmpty, requiredDurationMs } from './well-known.ts';

export function encodeHashPolicy(policy: HashPolicy): PlainMessage {
  switch (policy.kind) {
    case 'header':
      return { header: { header_name: policy.name } };
    case 'cookie': {
      const { name, path, ttlMs } = policy;
      const ttl = ttlMs === undefined ? undefined : encodeDuration(ttlMs);
      return { cookie: { name, ttl, path: nonEmpty(path) } };
    }
    case 'sourceIp':
      return { connection_properties: { source_ip: true } };
    default:
      return policy satisfies never;
  }
}

export const readHashPolicy: Read<HashPolicy> = (fields) => {
  switch (oneOf(fields, 'policy_specifier')) {
    case 'header':
      return message(fields, 'header', (header) => ({
        kind: 'header',
        name: requiredText(header, 'header_name'),
      }));
    case 'cookie':
      return message(fields, 'cookie', readCookie);
    case 'connection_properties':
      return message(fields, 'connection_properties', (properties) =>
        flag(properties, 'source_ip')
          ? { kind: 'sourceIp' }
          : report(properties, 'source_ip', 'not-supported', 'is false'),
      );
    default:
      return undefined;
  }
};

const readCookie: Read<HashPolicy> = (fields) => {
  const name = requiredText(fields, 'name');
  const path = text(fields, 'path');
  const ttlMs = isSet(fields, 'ttl') ? requiredDurationMs(fields, 'ttl') : undefined;
  return { kind: 'cookie', name, path, ...(ttlMs !== undefined && { ttlMs }) };
};
