// Policies that other meshes and proxies were found not to enforce, each decided here by parser, compiler and evaluator.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide, httpRequest, policyOf, tcpConnection } from '../../../test/support/policies.ts';
import { pathOnly } from './evaluate.ts';
import { normalizeTarget } from './path.ts';

const WEB = 'cluster.local/ns/shop/sa/web';
const source = (fields: object): object => ({ from: [{ source: fields }] });
const operation = (fields: object): object => ({ to: [{ operation: fields }] });
const allow = (...rules: readonly object[]) => policyOf({ rules }, 'allow');
const deny = (...rules: readonly object[]) => policyOf({ action: 'DENY', rules }, 'deny');

/** Fields that only a peer with a certificate can satisfy: positive, and its negation. */
const MTLS_ONLY: readonly (readonly [string, string, readonly string[]])[] = [
  ['principals', 'notPrincipals', [WEB]],
  ['principals', 'notPrincipals', ['*']],
  ['principals', 'notPrincipals', ['*/sa/web']],
  ['namespaces', 'notNamespaces', ['shop']],
  ['namespaces', 'notNamespaces', ['*']],
  ['requestPrincipals', 'notRequestPrincipals', ['*']],
];
for (const [positive, negative, values] of MTLS_ONLY) {
  const plaintext = [httpRequest({}), tcpConnection({})];
  test(`a plaintext peer never satisfies an ALLOW by ${positive} ${values.join()} (ISTIO-SECURITY-2021-004)`, () => {
    for (const request of plaintext) {
      assert.equal(decide([allow(source({ [positive]: values }))], request).isAllowed, false);
    }
  });
  test(`a plaintext peer does not slip past a DENY by ${negative} ${values.join()} (ISTIO-SECURITY-2021-004)`, () => {
    for (const request of plaintext) {
      const verdict = decide([deny(source({ [negative]: values }))], request);
      assert.equal(verdict.isAllowed, false);
    }
  });
}

test('requests without a token are refused where a policy asks for one: there is no key to fall back on (CVE-2026-31837)', () => {
  const asks = [
    allow(source({ requestPrincipals: ['*'] })),
    policyOf({ rules: [{ when: [{ key: 'request.auth.claims[iss]', values: ['*'] }] }] }),
    deny(source({ notRequestPrincipals: ['*'] })),
  ];
  const forged = { authorization: ['Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJhIn0.'] };
  for (const policy of asks) {
    const request = httpRequest({ peer: WEB, headers: forged });
    assert.equal(decide([policy], request).isAllowed, false);
  }
});

test('with DENY policies alone what they do not name stays allowed, and with an ALLOW beside them the rest stays denied (GO-2022-0895)', () => {
  const noAdmin = deny(operation({ paths: ['/admin'] }));
  const onlyPublic = allow(operation({ paths: ['/public'] }));
  const at = (target: string) => httpRequest({ peer: WEB, target });
  const rows = [
    [[noAdmin], '/admin', false],
    [[noAdmin], '/other', true],
    [[noAdmin, onlyPublic], '/admin', false],
    [[noAdmin, onlyPublic], '/other', false],
    [[noAdmin, onlyPublic], '/public', true],
  ] as const;
  for (const [policies, target, isAllowed] of rows) {
    assert.equal(decide(policies, at(target)).isAllowed, isAllowed, target);
  }
});

test('policies that are merged never allow what none of them allows alone (GHSA-68mj-9pjq-mc85, GHSA-2h44-x2wx-49f4)', () => {
  const paths = ['/a', '/b', '/c'];
  const peers = [WEB, 'cluster.local/ns/shop/sa/cart', undefined];
  const rule = fc
    .record({ path: fc.constantFrom(...paths), peer: fc.constantFrom(WEB, '*') })
    .map(({ path, peer }) => ({
      ...source({ principals: [peer] }),
      ...operation({ paths: [path] }),
    }));
  const allows = fc.array(fc.array(rule, { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(
      allows,
      fc.constantFrom(...paths),
      fc.constantFrom(...peers),
      (sets, target, peer) => {
        const policies = sets.map((rules, index) => policyOf({ rules }, `p${index}`));
        const request = httpRequest(peer === undefined ? { target } : { target, peer });
        const alone = policies.some((policy) => decide([policy], request).isAllowed);
        assert.equal(decide(policies, request).isAllowed, alone);
      },
    ),
  );
});

const HOSTS: readonly (readonly [string, string])[] = [
  ['admin.example', 'admin.example'],
  ['admin.example', 'ADMIN.example'],
  ['admin.example', 'admin.example.'],
  ['admin.example:*', 'admin.example:8443'],
  ['*.example', 'admin.example'],
  ['[2001:db8::1]:*', '[2001:db8::1]:8080'],
  ['[2001:db8::1]', '[2001:DB8::1]'],
];
for (const [host, authority] of HOSTS) {
  test(`a DENY of host ${host} holds for ${authority} (ISTIO-SECURITY-2021-008, CVE-2021-39155)`, () => {
    const verdict = decide([deny(operation({ hosts: [host] }))], httpRequest({ authority }));
    assert.equal(verdict.isAllowed, false);
  });
}

/** What servers that know path parameters would take for `/admin`, or for a path below it. */
const PARAMETERS = [
  '/admin;x=y',
  '/admin;',
  '/admin;a=b/users',
  '/;a=b/admin',
  '/a;b/../admin',
  '/public/..;foo=bar/admin',
  '/public/..;/admin',
  '/public/%2e%2e;x/admin',
  '/public/.;/..;/admin',
];
for (const target of PARAMETERS) {
  test(`an ALLOW of other paths does not let ${target} in (CVE-2026-73553, CVE-2026-73511, CVE-2026-73551)`, () => {
    for (const mode of ['BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const) {
      const normalized = normalizeTarget(target, mode);
      if (!normalized.ok) continue;
      const request = httpRequest({ target: normalized.target });
      const verdict = decide([allow(operation({ paths: ['/public', '/public/*'] }))], request);
      assert.equal(verdict.isAllowed, false, mode);
    }
  });
}

test('a target that begins with two slashes is a path, never an authority (CVE-2026-26205)', () => {
  for (const target of ['//admin/x', '///admin/x', '//admin@evil/x', '//evil.test:80/admin/x']) {
    assert.equal(pathOnly(target), target);
    const merged = normalizeTarget(target, 'MERGE_SLASHES');
    assert.ok(merged.ok);
    assert.ok(merged.target.includes('admin'), merged.target);
  }
  const merged = normalizeTarget('//admin/x', 'MERGE_SLASHES');
  assert.ok(merged.ok);
  const verdict = decide(
    [deny(operation({ paths: ['/admin/*'] }))],
    httpRequest({ target: merged.target }),
  );
  assert.equal(verdict.isAllowed, false);
});

test('a URL that is written otherwise, or a header beside another, does not get round a rule (CVE-2024-10005, CVE-2024-10006)', () => {
  for (const target of [
    '/admin/../admin',
    '/./admin',
    '/x/%2e%2e/admin',
    '/admin?x=/public',
    '/admin#/public',
  ]) {
    const normalized = normalizeTarget(target, 'BASE');
    assert.ok(normalized.ok);
    const policy = deny(operation({ paths: ['/admin'] }));
    assert.equal(
      decide([policy], httpRequest({ target: normalized.target })).isAllowed,
      false,
      target,
    );
  }
  const byHeader = policyOf({
    action: 'DENY',
    rules: [{ when: [{ key: 'request.headers[X-Role]', values: ['guest'] }] }],
  });
  for (const values of [['guest'], ['admin', 'guest'], ['guest', 'admin']]) {
    const request = httpRequest({ headers: { 'x-role': values } });
    assert.equal(decide([byHeader], request).isAllowed, false);
  }
});
