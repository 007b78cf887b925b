// Writes HAProxy's configuration for both halves of the pair: the same certificates and policies, and what it can check of identities.
import type { BenchTokens } from '../mesh-policies.ts';
import type { BenchPolicy } from '../policies.ts';
import type { AppName, MeshSpec } from '../scenario.ts';
import type { Endpoint } from './envoy-config.ts';

export interface HaproxyHalf {
  readonly listen: Endpoint;
  readonly upstream: Endpoint;
  readonly app: AppName;
  /** Chain and key in one file. */
  readonly ownFile: string;
  readonly rootsFile: string;
}

/** Nothing that it was asked for ends by itself within a run. */
const DEFAULTS = `global
  nbthread 1
  maxconn 8192
  expose-experimental-directives

defaults
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  timeout http-request 10s
  http-reuse always
  retries 2
`;

const addressOf = ({ host, port }: Endpoint): string => `${host}:${port}`;
const isHttp2 = (app: AppName): boolean => app === 'h2c' || app === 'grpc';
const modeOf = (app: AppName): string => (app === 'tcp' ? 'tcp' : 'http');
/** Prior knowledge, as callers of a mesh have it. */
const plainOf = (app: AppName): string => (isHttp2(app) ? ' proto h2' : '');
const alpnOf = (app: AppName): string =>
  app === 'tcp' ? '' : ` alpn ${isHttp2(app) ? 'h2' : 'http/1.1'}`;
const tlsOf = ({ app, ownFile, rootsFile }: HaproxyHalf): string =>
  `ssl crt ${ownFile} ca-file ${rootsFile} verify required ssl-min-ver TLSv1.3${alpnOf(app)}`;

/** The caller's side: plain in, mutual TLS out. Before 3.x it cannot look at a URI in the server's certificate. */
export const outboundHaproxy = (half: HaproxyHalf): string => `${DEFAULTS}
listen outbound
  mode ${modeOf(half.app)}
  bind ${addressOf(half.listen)}${plainOf(half.app)}
  server called ${addressOf(half.upstream)} ${tlsOf(half)}
`;

/**
 * A certificate names exactly one URI, and it is this one's: the bytes of that name (its tag, its length, itself) are
 * looked for in the certificate as it came, because HAProxy has no word for a URI in it. Once a connection.
 */
function callerCheck({ callerId }: BenchPolicy): string {
  const name = Buffer.from(callerId);
  const bytes = Buffer.concat([Buffer.of(0x86, name.length), name])
    .toString('hex')
    .toUpperCase();
  return `tcp-request session set-var(sess.caller) bool(true) if { ssl_c_der,hex -m sub ${bytes} }`;
}

/** The called side: mutual TLS and policies, then the application. */
export function inboundHaproxy(
  half: HaproxyHalf,
  of: {
    readonly policy: BenchPolicy;
    readonly mesh: MeshSpec;
    readonly tokens: BenchTokens;
    readonly publicKeyFile: string;
  },
): string {
  const isJudged = of.mesh.rules !== 0;
  const rules = !isJudged ? [] : half.app === 'tcp' ? tcpRules(of.policy) : httpRules(half.app, of);
  return `${DEFAULTS}
listen inbound
  mode ${modeOf(half.app)}
  bind ${addressOf(half.listen)} ${tlsOf(half)} curves X25519
${rules.map((rule) => `  ${rule}\n`).join('')}  server app ${addressOf(half.upstream)}${plainOf(half.app)}
`;
}

const tcpRules = (policy: BenchPolicy): readonly string[] => [
  callerCheck(policy),
  'tcp-request session reject unless { var(sess.caller) -m bool }',
];

/** Paths are judged as the other peers judge them: normalised. */
function httpRules(
  app: AppName,
  {
    policy,
    mesh,
    tokens,
    publicKeyFile,
  }: {
    readonly policy: BenchPolicy;
    readonly mesh: MeshSpec;
    readonly tokens: BenchTokens;
    readonly publicKeyFile: string;
  },
): readonly string[] {
  const methods = app === 'grpc' ? 'POST' : policy.methods.join(' ');
  return [
    callerCheck(policy),
    'http-request normalize-uri path-strip-dotdot',
    'http-request normalize-uri path-merge-slashes',
    `http-request deny deny_status 403 if { path ${policy.deniedPath} }`,
    `http-request deny deny_status 403 unless { var(sess.caller) -m bool } { method ${methods} }`,
    ...(mesh.isJwtRequired === true ? tokenRules(tokens, publicKeyFile) : []),
    `http-request set-header x-forwarded-client-cert URI=${policy.callerId}`,
  ];
}

const tokenRules = ({ issuer, subject }: BenchTokens, publicKeyFile: string): readonly string[] => {
  const claim = (name: string): string => `var(txn.token),jwt_payload_query('$.${name}')`;
  const unless = (test: string): string => `http-request deny deny_status 401 unless { ${test} }`;
  return [
    'http-request set-var(txn.token) http_auth_bearer',
    'http-request deny deny_status 403 unless { var(txn.token) -m found }',
    "http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')",
    unless('var(txn.alg) -m str RS256'),
    unless(`${claim('iss')} -m str ${issuer}`),
    unless(`${claim('sub')} -m str ${subject}`),
    "http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')",
    'http-request set-var(txn.now) date()',
    unless('var(txn.exp),sub(txn.now) -m int gt 0'),
    unless(`var(txn.token),jwt_verify(txn.alg,"${publicKeyFile}") -m int 1`),
  ];
};
