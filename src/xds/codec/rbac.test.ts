// RBAC on the wire: what is refused, with the field that is at fault, so that no rule is ever weaker than it was written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Permission, RbacRules } from '@weft/model/policy/rbac';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import { createReading, encodeAny, readMessage } from './fields.ts';
import { encodeRbac, MAX_RBAC_DEPTH, type RbacLayer, readRbac } from './rbac.ts';

const TYPE = 'envoy.config.rbac.v3.RBAC';

function read(bytes: Uint8Array, layer: RbacLayer = 'http') {
  const reading = createReading();
  const value = readMessage(TYPE, bytes, { reading, path: 'rules' }, (fields) =>
    readRbac(fields, layer),
  );
  return { value, problems: reading.problems.map(({ field, message }) => `${field}: ${message}`) };
}

/** Rules of one policy `p`. */
const rules = (policy: PlainMessage): PlainMessage => ({ policies: { p: policy } });
const any = [{ any: true }];
const permission = (value: PlainMessage): PlainMessage =>
  rules({ permissions: [value], principals: any });
const principal = (value: PlainMessage): PlainMessage =>
  rules({ permissions: any, principals: [value] });

const AT = 'rules.policies["p"]';
const REFUSED: readonly [string, PlainMessage, string][] = [
  ['an action that is not known', { action: 7 }, 'rules.action: is 7, not one of ALLOW, DENY, LOG'],
  ['no permissions', rules({ principals: any }), `${AT}.permissions: is missing`],
  ['no principals', rules({ permissions: any }), `${AT}.principals: is missing`],
  [
    'a permission without a rule',
    permission({}),
    `${AT}.permissions[0]: sets none of the known kinds of rule`,
  ],
  [
    'a principal without an identifier',
    principal({}),
    `${AT}.principals[0]: sets none of the known kinds of identifier`,
  ],
  [
    'an empty and',
    permission({ and_rules: {} }),
    `${AT}.permissions[0].and_rules.rules: is missing`,
  ],
  ['an empty or', principal({ or_ids: {} }), `${AT}.principals[0].or_ids.ids: is missing`],
  [
    'an and that holds an empty rule',
    permission({ and_rules: { rules: [{ any: true }, {}] } }),
    `${AT}.permissions[0].and_rules.rules[1]: sets none of the known kinds of rule`,
  ],
  [
    'an or that holds an empty identifier',
    principal({ or_ids: { ids: [{}] } }),
    `${AT}.principals[0].or_ids.ids[0]: sets none of the known kinds of identifier`,
  ],
  [
    'a not of nothing',
    principal({ not_id: {} }),
    `${AT}.principals[0].not_id: sets none of the known kinds of identifier`,
  ],
  ['any: false', permission({ any: false }), `${AT}.permissions[0].any: is false`],
  [
    'a port beyond 65535',
    permission({ destination_port: 65_536 }),
    `${AT}.permissions[0].destination_port: is 65536, not within 0 to 65535`,
  ],
  [
    'an address that is none',
    principal({ remote_ip: { address_prefix: '10.0.0', prefix_len: { value: 8 } } }),
    `${AT}.principals[0].remote_ip: is no address range: "10.0.0" and length 8`,
  ],
  [
    'a prefix longer than the address',
    permission({ destination_ip: { address_prefix: '10.0.0.0', prefix_len: { value: 33 } } }),
    `${AT}.permissions[0].destination_ip: is no address range: "10.0.0.0" and length 33`,
  ],
  [
    'a range without a length',
    principal({ direct_remote_ip: { address_prefix: '10.0.0.1' } }),
    `${AT}.principals[0].direct_remote_ip.prefix_len: is missing`,
  ],
  [
    'an empty prefix',
    permission({ url_path: { path: { prefix: '' } } }),
    `${AT}.permissions[0].url_path.path.prefix: is missing`,
  ],
  [
    'a path matcher without a path',
    permission({ url_path: {} }),
    `${AT}.permissions[0].url_path.path: is missing`,
  ],
  [
    'a string matcher without a pattern',
    principal({ authenticated: { principal_name: {} } }),
    `${AT}.principals[0].authenticated.principal_name: sets none of the known kinds of match_pattern`,
  ],
  [
    'a regular expression of the user',
    principal({ authenticated: { principal_name: { safe_regex: { regex: 'spiffe://(a|b)' } } } }),
    `${AT}.principals[0].authenticated.principal_name.safe_regex.regex: is "spiffe://(a|b)", not made of quoted text, .*, .+ and [^/]* alone`,
  ],
  [
    'a header without a name',
    permission({ header: { present_match: true } }),
    `${AT}.permissions[0].header.name: is missing`,
  ],
  [
    'a header matcher without a match',
    permission({ header: { name: 'x' } }),
    `${AT}.permissions[0].header: sets none of the known kinds of header_match_specifier`,
  ],
  [
    'present_match: false',
    permission({ header: { name: 'x', present_match: false } }),
    `${AT}.permissions[0].header.present_match: is false: use invert_match`,
  ],
  [
    'the pseudo-header :scheme',
    permission({ header: { name: ':scheme', present_match: true } }),
    `${AT}.permissions[0].header.name: is the pseudo-header ":scheme"`,
  ],
  [
    'an unknown matcher extension',
    permission({ uri_template: { name: 'x.y', typed_config: encodeAny(TYPE, {}) } }),
    `${AT}.permissions[0].uri_template.name: is "x.y", which is not known here`,
  ],
  [
    'an unknown matcher type',
    permission({
      uri_template: {
        name: 'envoy.path.match.uri_template.uri_template_matcher',
        typed_config: encodeAny(TYPE, {}),
      },
    }),
    `${AT}.permissions[0].uri_template.typed_config: is of type "type.googleapis.com/envoy.config.rbac.v3.RBAC", which is not known here`,
  ],
  [
    'metadata without a path',
    permission({ metadata: { filter: 'f', value: { present_match: true } } }),
    `${AT}.permissions[0].metadata.path: is missing`,
  ],
  [
    'metadata without a value',
    permission({ metadata: { filter: 'f', path: [{ key: 'a' }] } }),
    `${AT}.permissions[0].metadata.value: is missing`,
  ],
  [
    'an or of one value',
    permission({
      metadata: {
        filter: 'f',
        path: [{ key: 'a' }],
        value: { or_match: { value_matchers: [{ present_match: true }] } },
      },
    }),
    `${AT}.permissions[0].metadata.value.or_match: has fewer than two alternatives`,
  ],
];

for (const [what, message, problem] of REFUSED) {
  test(`readRbac() refuses ${what}`, () => {
    assert.deepEqual(read(encodeMessage(TYPE, message)).problems, [problem]);
  });
}

const REQUEST_RULES: readonly PlainMessage[] = [
  permission({ header: { name: 'x', present_match: true } }),
  permission({ not_rule: { url_path: { path: { exact: '/' } } } }),
  principal({ and_ids: { ids: [{ header: { name: 'x', present_match: true } }] } }),
];
for (const message of REQUEST_RULES) {
  test(`readRbac() refuses ${JSON.stringify(message)} for TCP connections`, () => {
    const bytes = encodeMessage(TYPE, message);
    assert.deepEqual(read(bytes, 'http').problems, []);
    assert.match(read(bytes, 'tcp').problems.join(), /matches requests, in a filter for TCP/);
  });
}

/** A field with a number, length-delimited. */
const lengthDelimited = (number: number, content: Uint8Array): Uint8Array =>
  Uint8Array.from([
    ((number * 8 + 2) & 0x7f) | (number > 15 ? 0x80 : 0),
    ...(number > 15 ? [number >> 4] : []),
    content.length,
    ...content,
  ]);
const bytesOf = (type: string, message: PlainMessage): number[] => [
  ...encodeMessage(`envoy.config.rbac.v3.${type}`, message),
];
const policyEntry = (policy: readonly number[]): Uint8Array =>
  lengthDelimited(
    2,
    Uint8Array.from([0x0a, 1, 0x70, ...lengthDelimited(2, Uint8Array.from(policy))]),
  );

const UNKNOWN: readonly [string, Uint8Array, string][] = [
  [
    'RBAC (audit_logging_options, 3)',
    lengthDelimited(3, Uint8Array.of()),
    'rules: has field number 3, which is not known',
  ],
  [
    'a policy (condition, 3)',
    policyEntry([
      ...bytesOf('Policy', { permissions: any, principals: any }),
      ...lengthDelimited(3, Uint8Array.of()),
    ]),
    `${AT}: has field number 3, which is not known`,
  ],
  [
    'a permission (destination_port_range, 11)',
    policyEntry([
      ...lengthDelimited(1, lengthDelimited(11, Uint8Array.of())),
      ...bytesOf('Policy', { principals: any }),
    ]),
    `${AT}.permissions[0]: has field number 11, which is not known`,
  ],
  [
    'a principal (filter_state, 12), inside a not',
    policyEntry([
      ...bytesOf('Policy', { permissions: any }),
      ...lengthDelimited(2, lengthDelimited(8, lengthDelimited(12, Uint8Array.of()))),
    ]),
    `${AT}.principals[0].not_id: has field number 12, which is not known`,
  ],
  [
    'a known permission, beside it',
    policyEntry([
      ...lengthDelimited(1, Uint8Array.of(0x18, 1, ...lengthDelimited(100, Uint8Array.of()))),
      ...bytesOf('Policy', { principals: any }),
    ]),
    `${AT}.permissions[0]: has field number 100, which is not known`,
  ],
];
for (const [where, bytes, problem] of UNKNOWN) {
  test(`readRbac() refuses an unknown field in ${where}: version skew fails closed (CVE-2022-21679)`, () => {
    assert.deepEqual(read(bytes).problems, [problem]);
  });
}

test('readRbac() refuses two kinds of rule in one permission, which others read as the last', () => {
  const both = policyEntry([
    ...lengthDelimited(1, Uint8Array.of(0x18, 1, 0x30, 80)),
    ...bytesOf('Policy', { principals: any }),
  ]);
  assert.deepEqual(read(both).problems, [
    `${AT}.permissions[0].destination_port: is set beside any`,
  ]);
});

test('readRbac() refuses the same policy twice, and a policy without a name', () => {
  const entry = policyEntry(bytesOf('Policy', { permissions: any, principals: any }));
  assert.deepEqual(read(Uint8Array.from([...entry, ...entry])).problems, [
    `${AT}: is there more than once`,
  ]);
  const unnamed = encodeMessage(TYPE, { policies: { '': { permissions: any, principals: any } } });
  assert.deepEqual(read(unnamed).problems, ['rules.policies: has a policy without a name']);
});

test('readRbac() reads absent policies as none, and an absent action as ALLOW: everything is denied', () => {
  assert.deepEqual(read(Uint8Array.of()), {
    value: { action: 'ALLOW', policies: [] },
    problems: [],
  });
});

test('readRbac() folds the case of header names (GHSA-qc2q-p7wx-3px3)', () => {
  const { value } = read(
    encodeMessage(TYPE, permission({ header: { name: 'X-Role', present_match: true } })),
  );
  const [policy] = value!.policies;
  assert.deepEqual(policy!.permissions, [
    { kind: 'header', header: { name: 'x-role', match: { kind: 'present' }, invert: false } },
  ]);
});

test('readRbac() keeps policies whose names mean something to JavaScript', () => {
  const names = ['0', '1', '__proto__', 'constructor', 'z'];
  const value: RbacRules = {
    action: 'DENY',
    policies: names.map((name) => ({
      name,
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'any' }],
    })),
  };
  assert.deepEqual(read(encodeMessage(TYPE, encodeRbac(value))).value, value);
});

function nested(depth: number): Permission {
  let rule: Permission = { kind: 'any' };
  for (let level = 1; level < depth; level++) rule = { kind: 'not', rule };
  return rule;
}

test(`rules may be nested ${MAX_RBAC_DEPTH} deep and no deeper, on both sides`, () => {
  const of = (depth: number): RbacRules => ({
    action: 'ALLOW',
    policies: [{ name: 'p', permissions: [nested(depth)], principals: [{ kind: 'any' }] }],
  });
  const deepest = of(MAX_RBAC_DEPTH);
  assert.deepEqual(read(encodeMessage(TYPE, encodeRbac(deepest))).value, deepest);
  assert.throws(() => encodeRbac(of(MAX_RBAC_DEPTH + 1)), /nested deeper than 32/);
  let rule: PlainMessage = { any: true };
  for (let level = 1; level < 60; level++) rule = { not_rule: rule };
  assert.match(
    read(encodeMessage(TYPE, permission(rule))).problems.join(),
    /is nested deeper than 32/,
  );
});

const UNWRITABLE: readonly [string, RbacRules][] = [
  [
    'no permissions',
    { action: 'ALLOW', policies: [{ name: 'p', permissions: [], principals: [{ kind: 'any' }] }] },
  ],
  [
    'no principals',
    { action: 'ALLOW', policies: [{ name: 'p', permissions: [{ kind: 'any' }], principals: [] }] },
  ],
  [
    'an empty or',
    {
      action: 'DENY',
      policies: [
        { name: 'p', permissions: [{ kind: 'or', rules: [] }], principals: [{ kind: 'any' }] },
      ],
    },
  ],
  [
    'an empty prefix',
    {
      action: 'DENY',
      policies: [
        {
          name: 'p',
          permissions: [
            { kind: 'urlPath', path: { kind: 'prefix', value: '', ignoreCase: false } },
          ],
          principals: [{ kind: 'any' }],
        },
      ],
    },
  ],
  [
    'no name',
    {
      action: 'DENY',
      policies: [{ name: '', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }],
    },
  ],
];
for (const [what, value] of UNWRITABLE) {
  test(`encodeRbac() throws for a policy with ${what}`, () => {
    assert.throws(() => encodeRbac(value), /^(Type|Range)Error: Cannot encode/);
  });
}
