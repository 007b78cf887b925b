// The policies that every measured pair enforces, once as facts and once as manifests.
import { modeYaml, NAMESPACE, policyYaml } from '../support/lab-manifests.ts';
import { TRUST_DOMAIN } from './identities.ts';

export interface BenchPolicy {
  readonly callerId: string;
  /** For `GET` and `PUT`; whatever else is denied. */
  readonly methods: readonly string[];
  readonly deniedPath: string;
}

export const CALLER = 'web';
export const CALLED = 'prices';
/** Has a certificate of the mesh, and no rule that lets it in. */
export const STRANGER = 'stranger';

export const POLICY: BenchPolicy = {
  callerId: `spiffe://${TRUST_DOMAIN}/ns/${NAMESPACE}/sa/${CALLER}`,
  methods: ['GET', 'PUT'],
  deniedPath: '/denied',
};

/** One DENY and one ALLOW policy, mTLS for everybody. */
export const policyManifests = (): readonly string[] => [
  modeYaml('STRICT'),
  policyYaml({
    name: 'deny-path',
    action: 'DENY',
    app: CALLED,
    rules: `[{ to: [{ operation: { paths: ["${POLICY.deniedPath}"] } }] }]`,
  }),
  policyYaml({
    name: 'allow-caller',
    action: 'ALLOW',
    app: CALLED,
    rules: `[{ from: [{ source: { principals: ["${POLICY.callerId.slice('spiffe://'.length)}"] } }], to: [{ operation: { methods: ${JSON.stringify(POLICY.methods)} } }] }]`,
  }),
];
