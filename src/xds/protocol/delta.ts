// The delta spelling of the protocol: DeltaDiscoveryRequest in, DeltaDiscoveryResponse out.
import type { PlainMessage } from '../registry.ts';
import { type StreamKind, typeUrlOf } from '../resource.ts';
import { messageField, resourcePrefix, textField } from './envelope.ts';
import { messageOf, textMapOf, textOf, textsOf } from './fields.ts';
import type { StreamRequest, StreamResponse } from './session.ts';

export function readDeltaRequest(message: PlainMessage, kind: StreamKind): StreamRequest {
  const error = messageOf(message, 'error_detail');
  return {
    kind,
    nonce: textOf(message, 'response_nonce'),
    error: error && textOf(error, 'message'),
    names: {
      kind: 'adjust',
      subscribe: textsOf(message, 'resource_names_subscribe'),
      unsubscribe: textsOf(message, 'resource_names_unsubscribe'),
      initialVersions: textMapOf(message, 'initial_resource_versions'),
    },
  };
}

/** `identifier`: which control plane speaks, for the client's log. */
export function writeDeltaResponse(response: StreamResponse, identifier: string): Buffer {
  const parts: Uint8Array[] = [textField(1, response.version)];
  for (const resource of response.resources) parts.push(resourcePrefix(resource), resource.bytes);
  parts.push(textField(4, typeUrlOf(response.kind)), textField(5, response.nonce));
  for (const name of response.removed) parts.push(textField(6, name));
  parts.push(messageField(7, textField(1, identifier)));
  return Buffer.concat(parts);
}
