// Reads the envelopes of relayed messages: who asks, what is answered, what comes. The resources themselves stay bytes.
import { bytesOf, messageOf, messagesOf, textOf, textsOf } from '@weft/xds/protocol/fields';
import { decodeMessage, type PlainMessage } from '@weft/xds/registry';
import type { RelayedResource, RelayedResponse } from './relay-observer.ts';

export type Variant = 'sotw' | 'delta';

const PACKAGE = 'envoy.service.discovery.v3';
const REQUESTS = { sotw: 'DiscoveryRequest', delta: 'DeltaDiscoveryRequest' } as const;
const RESPONSES = { sotw: 'DiscoveryResponse', delta: 'DeltaDiscoveryResponse' } as const;

/** What a request says of its sender. */
export interface NodeWords {
  readonly id: string;
  readonly cluster: string;
  readonly userAgent: string;
}

export interface RequestWords {
  readonly node: NodeWords | undefined;
  readonly typeUrl: string;
  /** Of the response that it answers; empty: of none. */
  readonly nonce: string;
  readonly refusal: string | undefined;
}

/** A refusal names a field and a reason; more is not kept. */
const MAX_REFUSAL_LENGTH = 4_096;

/** @throws Error for bytes that are no such message. */
export function readRequest(variant: Variant, bytes: Uint8Array): RequestWords {
  const message = decodeMessage(`${PACKAGE}.${REQUESTS[variant]}`, bytes);
  const node = messageOf(message, 'node');
  const error = messageOf(message, 'error_detail');
  return {
    node: node && wordsOf(node),
    typeUrl: textOf(message, 'type_url'),
    nonce: textOf(message, 'response_nonce'),
    refusal: error && (textOf(error, 'message') || 'no reason given').slice(0, MAX_REFUSAL_LENGTH),
  };
}

function wordsOf(node: PlainMessage): NodeWords {
  const version = textOf(node, 'user_agent_version');
  return {
    id: textOf(node, 'id'),
    cluster: textOf(node, 'cluster'),
    userAgent: textOf(node, 'user_agent_name') + (version === '' ? '' : `/${version}`),
  };
}

/** @throws Error for bytes that are no such message. */
export function readResponse(variant: Variant, bytes: Uint8Array): RelayedResponse {
  const message = decodeMessage(`${PACKAGE}.${RESPONSES[variant]}`, bytes);
  const resources = messagesOf(message, 'resources');
  const version = textOf(message, 'version_info');
  return {
    typeUrl: textOf(message, 'type_url'),
    nonce: textOf(message, 'nonce'),
    resources: resources.map((one) =>
      variant === 'sotw'
        ? resourceOf(one, { name: '', version })
        : resourceOf(messageOf(one, 'resource'), {
            name: textOf(one, 'name'),
            version: textOf(one, 'version'),
          }),
    ),
    removed: variant === 'delta' ? textsOf(message, 'removed_resources') : [],
  };
}

const resourceOf = (
  any: PlainMessage | undefined,
  called: { readonly name: string; readonly version: string },
): RelayedResource => ({
  ...called,
  typeUrl: textOf(any, 'type_url'),
  bytes: bytesOf(any, 'value'),
});
