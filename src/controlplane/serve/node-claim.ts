// Reads what a proxy says of itself in its first request.
import type { PlainMessage } from '@weft/xds/registry';
import { messageOf, textOf } from '@weft/xds/protocol/fields';
import type { NodeClaim } from './view-source.ts';

/** A Pod's name and namespace are at most 253 and 63 characters. */
const MAX_ID_LENGTH = 512;
const MAX_USER_AGENT_LENGTH = 256;
/** What is kept of the metadata; proxies send much that nobody reads. */
const MAX_METADATA_ENTRIES = 64;
const MAX_METADATA_LENGTH = 1_024;

/** @returns `undefined` when the request names no node. */
export function readNodeClaim(request: PlainMessage): NodeClaim | undefined {
  const node = messageOf(request, 'node');
  const id = textOf(node, 'id');
  if (node === undefined || id === '' || id.length > MAX_ID_LENGTH) return undefined;
  const version = textOf(node, 'user_agent_version');
  const agent = textOf(node, 'user_agent_name') + (version === '' ? '' : `/${version}`);
  return {
    id,
    cluster: textOf(node, 'cluster').slice(0, MAX_ID_LENGTH),
    metadata: readMetadata(node),
    userAgent: agent.slice(0, MAX_USER_AGENT_LENGTH),
  };
}

function readMetadata(node: PlainMessage): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  const fields = messageOf(messageOf(node, 'metadata'), 'fields') ?? {};
  for (const key of Object.keys(fields)) {
    // The well-known types come with the protobuf library, which spells their fields in camel case.
    const value = messageOf(fields, key)?.['stringValue'];
    if (typeof value !== 'string') continue;
    if (key.length > MAX_METADATA_LENGTH || value.length > MAX_METADATA_LENGTH) continue;
    if (metadata.size >= MAX_METADATA_ENTRIES) break;
    metadata.set(key, value);
  }
  return metadata;
}
