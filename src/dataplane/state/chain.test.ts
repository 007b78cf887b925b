// Which filter chain a connection is given, and when its first bytes have to be looked at before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FilterChain, FilterChainMatch, Listener } from '@weft/xds/resources/listener';
import {
  compileListener,
  type ConnectionTraits,
  type ListenerRuntime,
  needsInspection,
  referencesOf,
  selectChain,
} from './chain.ts';

const TLS = {
  alpn: [],
  certificateSecret: 'default',
  validationSecret: 'ROOTCA',
  peerUris: [],
} as const;

const chain = (name: string, match: Partial<FilterChainMatch>, isTls = false): FilterChain => ({
  name,
  match: { destinationRanges: [], applicationProtocols: [], serverNames: [], ...match },
  ...(isTls && { tls: TLS }),
  filters: [{ kind: 'tcpProxy', statPrefix: 'x', cluster: name }],
});

const listenerOf = (
  chains: readonly FilterChain[],
  defaultFilterChain?: FilterChain,
): ListenerRuntime => {
  const listener: Listener = {
    name: 'l',
    address: { address: '0.0.0.0', port: 0 },
    direction: 'inbound',
    bindToPort: false,
    inspectors: [],
    inspectTimeoutMs: 100,
    filterChains: chains,
    ...(defaultFilterChain && { defaultFilterChain }),
  };
  return compileListener(listener);
};

const raw: ConnectionTraits = {
  transport: 'raw_buffer',
  applicationProtocols: [],
  serverName: undefined,
};
const tls = (serverName?: string, ...applicationProtocols: string[]): ConnectionTraits => ({
  transport: 'tls',
  applicationProtocols,
  serverName,
});
const at = (port: number, address = '10.0.0.1') => ({ address, port });

const listener = listenerOf(
  [
    chain('any', { destinationPort: 80 }),
    chain('tls', { destinationPort: 80, transportProtocol: 'tls' }),
    chain('alpn', {
      destinationPort: 80,
      transportProtocol: 'tls',
      applicationProtocols: ['weft'],
    }),
    chain('suffix', { destinationPort: 80, serverNames: ['*.example'] }),
    chain('longer suffix', { destinationPort: 80, serverNames: ['*.shop.example'] }),
    chain('exact', { destinationPort: 80, serverNames: ['web.shop.example'] }),
    chain('range', {
      destinationPort: 80,
      destinationRanges: [{ address: '10.1.0.0', prefixLength: 16 }],
    }),
    chain('host', {
      destinationPort: 80,
      destinationRanges: [{ address: '10.1.2.3', prefixLength: 32 }],
    }),
    chain('no port', { transportProtocol: 'tls' }),
  ],
  chain('default', {}),
);

const choices: readonly (readonly [string, ReturnType<typeof at>, ConnectionTraits, string])[] = [
  ['plaintext', at(80), raw, 'any'],
  ['TLS', at(80), tls(), 'tls'],
  ['TLS with the protocol', at(80), tls(undefined, 'h2', 'weft'), 'alpn'],
  ['a name before transport and protocol', at(80), tls('web.shop.example', 'weft'), 'exact'],
  ['the longer suffix', at(80), tls('api.shop.example'), 'longer suffix'],
  ['the shorter suffix', at(80), tls('shop.example'), 'suffix'],
  ['no suffix of the bare domain', at(80), tls('example'), 'tls'],
  ['no suffix in the middle of a label', at(80), tls('evilshop.example.com'), 'tls'],
  ['an address before a name', at(80, '10.1.9.9'), tls('web.shop.example'), 'range'],
  ['the longer prefix', at(80, '10.1.2.3'), raw, 'host'],
  ['a chain without port for other ports', at(81), tls(), 'no port'],
  ['the default for what matches none', at(81), raw, 'default'],
];
for (const [what, destination, traits, name] of choices) {
  test(`selectChain() takes ${what}: ${name}`, () => {
    assert.equal(selectChain(listener, destination, traits)?.name, name);
  });
}

test('selectChain() gives a port’s connections to that port’s chains or the default, never to portless ones', () => {
  const strict = listenerOf([
    chain('mtls', { destinationPort: 80, transportProtocol: 'tls' }, true),
    chain('portless', {}),
  ]);
  assert.equal(selectChain(strict, at(80), raw), undefined);
});

const inspections: readonly (readonly [string, ListenerRuntime, boolean])[] = [
  ['one plaintext chain', listenerOf([chain('a', { destinationPort: 80 })]), false],
  [
    'one TLS chain',
    listenerOf([chain('a', { destinationPort: 80, transportProtocol: 'tls' }, true)]),
    false,
  ],
  [
    'two chains',
    listenerOf([
      chain('a', { destinationPort: 80 }),
      chain('b', { destinationPort: 80, transportProtocol: 'tls' }),
    ]),
    true,
  ],
  [
    'a chain by protocol',
    listenerOf([chain('a', { destinationPort: 80, applicationProtocols: ['h2c'] })]),
    true,
  ],
  ['a chain by name', listenerOf([chain('a', { destinationPort: 80, serverNames: ['a'] })]), true],
  [
    'a TLS chain and a plaintext default',
    listenerOf(
      [chain('a', { destinationPort: 80, transportProtocol: 'tls' }, true)],
      chain('d', {}),
    ),
    true,
  ],
  [
    'a TLS chain and a TLS default',
    listenerOf(
      [chain('a', { destinationPort: 80, transportProtocol: 'tls' }, true)],
      chain('d', {}, true),
    ),
    false,
  ],
];
for (const [what, runtime, isNeeded] of inspections) {
  test(`needsInspection() says ${isNeeded} of ${what}`, () => {
    assert.equal(needsInspection(runtime, 80), isNeeded);
  });
}

test('compileListener() refuses chains without exactly one end', () => {
  assert.throws(() => listenerOf([{ ...chain('a', {}), filters: [] }]), /one terminal filter/);
});

test('referencesOf() names the default chain’s cluster as well', () => {
  assert.ok(referencesOf(listener).clusters.has('default'));
});
