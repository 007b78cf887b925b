// The scenarios of new connections, one request on each: plain to the caller's proxy, and mutual TLS to the called one's.
import type { Scenario } from './scenario.ts';
import { TWO_POLICIES } from './scenarios-http1.ts';

const CONNECTIONS = 8;

/** CPU of `handshake` is that of one proxy. */
export const CONNECTION_SCENARIOS: readonly Scenario[] = [
  {
    name: 'a connection each',
    mesh: TWO_POLICIES,
    drivers: ['connections', 'generator'],
    load: { path: '/100b', connections: CONNECTIONS, newConnection: 'each' },
    unit: 'connection',
  },
  {
    name: 'full mTLS handshake each',
    mesh: TWO_POLICIES,
    drivers: ['connections', 'generator'],
    load: { path: '/100b', connections: CONNECTIONS, newConnection: 'handshake' },
    unit: 'connection',
    isCalledOnly: true,
  },
  {
    name: 'resumed mTLS handshake each',
    mesh: TWO_POLICIES,
    drivers: ['connections'],
    load: {
      path: '/100b',
      connections: CONNECTIONS,
      newConnection: 'handshake',
      more: { resumed: 1 },
    },
    unit: 'connection',
    isCalledOnly: true,
    // Whoever is here gives tickets: a connection that was not resumed ends the run.
    pairs: ['envoy', 'haproxy'],
  },
];
