// Writes the policies of a scenario's mesh for one workload: who may call, by what, how many rules stand before it, and whose tokens count.
import { createPublicKey } from 'node:crypto';
import { NAMESPACE, policyYaml } from '../support/lab-manifests.ts';
import { createTestKey, jwksOf, seconds, signToken, type TestKey } from '../support/tokens.ts';
import { POLICY } from './policies.ts';
import { calledManifests } from './rule-sets.ts';
import type { MeshSpec } from './scenario.ts';

/** What requests of the rule scenarios ask for. */
const PATH = '/100b';
const ISSUER = 'https://issuer.test';
const SUBJECT = 'bench';
/** A whole run. */
const TOKEN_SECONDS = 6 * 3_600;
/** Files of a size that the control plane reads. */
const POLICIES_A_FILE = 1_000;
const PRINCIPAL = POLICY.callerId.slice('spiffe://'.length);
const GRPC_METHODS = ['POST'];

/** What the called workload may be asked by. */
export const methodsOf = (app: MeshSpec['app']): readonly string[] =>
  app === 'grpc' ? GRPC_METHODS : POLICY.methods;

export interface BenchTokens {
  readonly jwks: string;
  readonly publicKeyPem: string;
  readonly issuer: string;
  readonly subject: string;
  readonly valid: string;
  /** Of the same issuer by its own word, signed by nobody it knows. */
  readonly forged: string;
}

export function issueTokens(): BenchTokens {
  const key = createTestKey('RS256', 'bench');
  const tokenOf = (by: TestKey): string =>
    signToken(by, { iss: ISSUER, sub: SUBJECT, exp: seconds(TOKEN_SECONDS) });
  return {
    jwks: jwksOf(key),
    publicKeyPem: rsaPublicKeyPem(key),
    issuer: ISSUER,
    subject: SUBJECT,
    valid: tokenOf(key),
    forged: tokenOf(createTestKey('RS256', 'bench')),
  };
}

const rsaPublicKeyPem = ({ privateKey }: TestKey): string =>
  createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });

/** @returns files' documents: one file each. */
export function policyFilesOf(
  { rules, app, isJwtRequired, traffic }: MeshSpec,
  workload: string,
  { jwks }: BenchTokens,
): readonly (readonly string[])[] {
  if (rules === 'two') {
    const token = isJwtRequired === true ? [authentication(workload, jwks)] : [];
    const control = traffic === undefined ? [] : [trafficPolicy(workload, traffic)];
    return [[...twoPolicies(workload, app, isJwtRequired === true), ...token, ...control]];
  }
  const documents = calledManifests(rules, PATH, workload).map(
    (manifest) => `${JSON.stringify(manifest)}\n`,
  );
  const files: (readonly string[])[] = [];
  for (let at = 0; at < documents.length; at += POLICIES_A_FILE) {
    files.push(documents.slice(at, at + POLICIES_A_FILE));
  }
  return files;
}

/** One DENY and one ALLOW. On a TCP port there are no paths and methods: they go by identity alone. */
function twoPolicies(
  workload: string,
  app: MeshSpec['app'],
  isJwtRequired: boolean,
): readonly string[] {
  const token = isJwtRequired ? `, requestPrincipals: ["${ISSUER}/${SUBJECT}"]` : '';
  const from = `from: [{ source: { principals: ["${PRINCIPAL}"]${token} } }]`;
  const methods = JSON.stringify(methodsOf(app));
  const to = `to: [{ operation: { methods: ${methods} } }]`;
  const isTcp = app === 'tcp';
  return [
    policyYaml({
      name: `deny-${workload}`,
      action: 'DENY',
      app: workload,
      rules: isTcp
        ? '[{ from: [{ source: { namespaces: ["nobody"] } }] }]'
        : `[{ to: [{ operation: { paths: ["${POLICY.deniedPath}"] } }] }]`,
    }),
    policyYaml({
      name: `allow-${workload}`,
      action: 'ALLOW',
      app: workload,
      rules: isTcp ? `[{ ${from} }]` : `[{ ${from}, ${to} }]`,
    }),
  ];
}

const trafficPolicy = (workload: string, sections: object): string =>
  `${JSON.stringify({
    apiVersion: 'mesh.weft.dev/v1',
    kind: 'TrafficPolicy',
    metadata: { name: `traffic-${workload}`, namespace: NAMESPACE },
    spec: { selector: { matchLabels: { app: workload } }, ...sections },
  })}\n`;

const authentication = (workload: string, jwks: string): string =>
  `${JSON.stringify({
    apiVersion: 'security.weft.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { name: `tokens-${workload}`, namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: { app: workload } },
      jwtRules: [{ issuer: ISSUER, jwks }],
    },
  })}\n`;
