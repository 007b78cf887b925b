// What the status of a FederatedTrustDomain says: whether it is in force, when its keys were fetched, and until when they are believed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FEDERATED_TRUST_DOMAINS } from '@weft/kube/resource';
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import type { Problem } from '@weft/model/problem';
import type { FederationState } from '../federation/federations.ts';
import type { ObjectOrigin } from '../registry/source.ts';
import { describeFederatedTrustDomain } from './federation-conditions.ts';

const parsed = parseFederatedTrustDomain({
  apiVersion: 'security.weft.dev/v1',
  kind: 'FederatedTrustDomain',
  metadata: { name: 'partner', namespace: 'weft-system' },
  spec: {
    trustDomain: 'partner.example',
    bundleEndpoint: { url: 'https://partner.example/', profile: 'https_web' },
  },
});
const origin: ObjectOrigin = {
  resource: FEDERATED_TRUST_DOMAINS,
  uid: 'u',
  generation: 3,
  resourceVersion: '1',
  isGood: true,
  status: undefined,
  problems: [],
};
const FETCHED = { fetchedAtMs: 0, holdsUntilMs: 86_400_000 };
const BUNDLE = { sequence: 7, x509Authorities: [Buffer.of(1)], jwtAuthorities: [] };

const ROWS: readonly (readonly [string, Partial<FederationState>, string, string, string])[] = [
  ['not yet', { isInForce: false }, 'Unknown', 'NotFetched', 'not been fetched'],
  ['never', { isInForce: false, failure: 'away' }, 'False', 'NotFetched', 'away'],
  [
    'now',
    { ...FETCHED, bundle: BUNDLE, isInForce: true },
    'True',
    'Fetched',
    '1970-01-02T00:00:00',
  ],
  [
    'before',
    { ...FETCHED, bundle: BUNDLE, isInForce: true, failure: 'away' },
    'True',
    'LastGood',
    'away',
  ],
  [
    'too long ago',
    { ...FETCHED, bundle: BUNDLE, isInForce: false },
    'False',
    'TooOld',
    '1970-01-01',
  ],
];
for (const [when, state, status, reason, text] of ROWS) {
  test(`keys that were fetched ${when} are told as ${status}, ${reason}`, () => {
    assert.ok(parsed.ok);
    const problems: readonly Problem[] = [
      { severity: 'error', code: 'bundle-missing', message: 'cannot be fetched' },
    ];
    const full = { federation: parsed.value, isInForce: false, ...state };
    const described = describeFederatedTrustDomain({ origin, problems, state: full });
    const [accepted, fetched] = described.conditions;
    assert.deepEqual([accepted?.type, accepted?.status], ['Accepted', 'True']);
    assert.deepEqual(
      [fetched?.type, fetched?.status, fetched?.reason],
      ['BundleFetched', status, reason],
    );
    assert.match(fetched?.message ?? '', new RegExp(RegExp.escape(text)));
  });
}

test('one that does not hold is not accepted, and says why', () => {
  const problems: readonly Problem[] = [
    { severity: 'error', code: 'own-trust-domain', message: 'is our own' },
  ];
  const { conditions } = describeFederatedTrustDomain({ origin, problems, state: undefined });
  assert.deepEqual(
    conditions.map(({ type, status }) => [type, status]),
    [
      ['Accepted', 'False'],
      ['BundleFetched', 'False'],
    ],
  );
});
