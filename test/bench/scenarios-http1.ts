// The scenarios of HTTP/1.1: sizes, connections, rates, numbers of rules, tokens.
import type { LoadSpec, MeshSpec, Scenario } from './scenario.ts';

const http1 = (name: string, rules: MeshSpec['rules'], isJwtRequired = false): MeshSpec => ({
  name,
  app: 'http1',
  port: 'http',
  rules,
  isJwtRequired,
});

/** The mesh of most scenarios: one DENY by path, one ALLOW by caller and method. */
export const TWO_POLICIES = http1('two policies', 'two');
/** 512 connections are opened in each round. */
const MANY_MS = 4_000;
const BODY_BYTES = 10_000_000;

const plain = (name: string, load: LoadSpec, more: Partial<Scenario> = {}): Scenario => ({
  name,
  mesh: TWO_POLICIES,
  drivers: ['generator'],
  load,
  ...more,
});

const small = (name: string, mesh: MeshSpec): Scenario => ({
  name,
  mesh,
  drivers: ['generator'],
  load: { path: '/100b', connections: 32 },
});

/** What a filter costs that lets everything through; HAProxy has none of these here. */
const filtered = (name: string, traffic: NonNullable<MeshSpec['traffic']>): Scenario => ({
  ...small(`100 B, ${name}`, { ...TWO_POLICIES, name, traffic }),
  pairs: ['weft', 'envoy', 'direct'],
});
const MANY = 1_000_000;
const NEVER = { percent: 0, status: 503 };

export const HTTP1_SCENARIOS: readonly Scenario[] = [
  plain('100 B, 1 connection', { path: '/100b', connections: 1 }, { isQuick: true }),
  plain('100 B, 32 connections', { path: '/100b', connections: 32 }, { isQuick: true }),
  plain('100 B, 512 connections', { path: '/100b', connections: 512 }, { drivers: ['generator'] }),
  plain('100 B, 1 connection, 200/s', { path: '/100b', connections: 1, rate: 200 }),
  plain(
    '100 B, 32 connections, 1,000/s',
    { path: '/100b', connections: 32, rate: 1_000 },
    { isQuick: true },
  ),
  plain(
    '100 B, 512 connections, 1,000/s',
    { path: '/100b', connections: 512, rate: 1_000 },
    { minRoundMs: MANY_MS },
  ),
  plain('1 KB, 32 connections', { path: '/1k', connections: 32 }),
  plain('64 KB, 32 connections', { path: '/64k', connections: 32 }, { isQuick: true }),
  plain('10 MB down, 4 connections', { path: '/10m', connections: 4 }, { isQuick: true }),
  plain(
    '10 MB up, 4 connections',
    { path: '/upload', connections: 4, uploadBytes: BODY_BYTES },
    { isQuick: true },
  ),
  small('100 B, no rules', http1('no rules', 0)),
  small('100 B, 10 rules', http1('10 rules', 10)),
  small('100 B, 1,000 rules', http1('1,000 rules', 1_000)),
  small('100 B, JWT', http1('JWT', 'two', true)),
  filtered('throttle by caller', {
    throttling: [{ name: 'each', key: ['caller'], requests: MANY, interval: '1s' }],
  }),
  filtered('request limits', {
    limits: {
      methods: ['GET', 'PUT', 'POST', 'DELETE'],
      contentTypes: ['text/plain'],
      maxHeaders: 50,
      maxBodyBytes: MANY,
    },
  }),
  filtered('a fault that never happens', { faults: [{ name: 'never', abort: NEVER }] }),
  filtered('floods', { floods: { requests: MANY, connections: MANY } }),
];
