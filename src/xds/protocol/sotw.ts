// The state-of-the-world spelling of the protocol: DiscoveryRequest in, DiscoveryResponse out.
import type { PlainMessage } from '../registry.ts';
import { type StreamKind, typeUrlOf } from '../resource.ts';
import { anyPrefix, messageField, textField } from './envelope.ts';
import { messageOf, textOf, textsOf } from './fields.ts';
import type { StreamRequest, StreamResponse } from './session.ts';

export function readSotwRequest(message: PlainMessage, kind: StreamKind): StreamRequest {
  const error = messageOf(message, 'error_detail');
  return {
    kind,
    nonce: textOf(message, 'response_nonce'),
    error: error && textOf(error, 'message'),
    names: { kind: 'replace', names: textsOf(message, 'resource_names') },
  };
}

/** `identifier`: which control plane speaks, for the client's log. */
export function writeSotwResponse(response: StreamResponse, identifier: string): Buffer {
  const parts: Uint8Array[] = [textField(1, response.version)];
  for (const resource of response.resources) parts.push(anyPrefix(resource), resource.bytes);
  parts.push(
    textField(4, typeUrlOf(response.kind)),
    textField(5, response.nonce),
    messageField(6, textField(1, identifier)),
  );
  return Buffer.concat(parts);
}
