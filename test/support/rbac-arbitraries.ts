// Arbitrary RBAC rules, and the small parts that they share with all resources, in the canonical form that decoding gives back.
import { parseCidr } from '@weft/model/ip';
import type {
  CidrRange,
  GlobPart,
  HeaderMatcher,
  MetadataMatcher,
  Permission,
  Principal,
  RbacRules,
  StringMatcher,
  ValueMatcher,
} from '@weft/model/policy/rbac';
import fc from 'fast-check';
import { textOfAny } from './text-arbitraries.ts';

/** `T` without the keys whose value is undefined, as exactOptionalPropertyTypes has them. */
export function present<T extends object>(record: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}

/** Ordinary objects: those of `fc.record` may lack a prototype, which nothing decoded does. */
export function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

export const anyText = textOfAny({ maxLength: 12 });
export const someText = textOfAny({ minLength: 1, maxLength: 12 });
export const word = fc.stringMatching(/^[a-z][a-z0-9.|_-]{0,15}$/);
export const port = fc.integer({ min: 1, max: 65_535 });
export const durationMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000 }));

export const cidr: fc.Arbitrary<CidrRange> = fc
  .oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
    fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
  )
  .map(([address, length]) => parseCidr(`${address}/${length}`))
  .filter((range) => range !== undefined);
export const address = cidr.map((range) => range.address);
export const socketAddress = record({ address, port: fc.integer({ min: 0, max: 65_535 }) });

const globPart: fc.Arbitrary<GlobPart> = fc.oneof(
  record({ kind: fc.constant('literal' as const), text: someText }),
  record({ kind: fc.constantFrom('any' as const, 'some' as const, 'segment' as const) }),
);

/** Adjacent literals are one literal. */
export const glob: fc.Arbitrary<readonly GlobPart[]> = fc
  .array(globPart, { minLength: 1, maxLength: 6 })
  .map((parts) => {
    const merged: GlobPart[] = [];
    for (const part of parts) {
      const last = merged.at(-1);
      if (part.kind === 'literal' && last?.kind === 'literal')
        merged[merged.length - 1] = { kind: 'literal', text: last.text + part.text };
      else merged.push(part);
    }
    return merged;
  });

export const stringMatcher: fc.Arbitrary<StringMatcher> = fc.oneof(
  record({ kind: fc.constant('exact' as const), value: anyText, ignoreCase: fc.boolean() }),
  record({
    kind: fc.constantFrom('prefix' as const, 'suffix' as const, 'contains' as const),
    value: someText,
    ignoreCase: fc.boolean(),
  }),
  glob.map((parts): StringMatcher => ({ kind: 'glob', parts })),
);

const header: fc.Arbitrary<HeaderMatcher> = record({
  name: fc.oneof(
    fc.constantFrom(':authority', ':method', ':path'),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/),
  ),
  match: fc.oneof(
    fc.constant({ kind: 'present' as const }),
    record({ kind: fc.constant('string' as const), string: stringMatcher }),
  ),
  invert: fc.boolean(),
});

const { value: valueMatcher } = fc.letrec<{ value: ValueMatcher }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant({ kind: 'present' as const }),
    stringMatcher.map((string): ValueMatcher => ({ kind: 'string', string })),
    tie('value').map((oneOf): ValueMatcher => ({ kind: 'list', oneOf })),
    fc
      .array(tie('value'), { minLength: 2, maxLength: 3 })
      .map((values): ValueMatcher => ({ kind: 'or', values })),
  ),
}));

const metadata: fc.Arbitrary<MetadataMatcher> = record({
  filter: word,
  path: fc.array(someText, { minLength: 1, maxLength: 3 }),
  value: valueMatcher,
  invert: fc.boolean(),
});

export const template: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(fc.oneof(fc.constant('{*}'), fc.stringMatching(/^[a-z0-9.%~]{1,6}$/)), {
      minLength: 1,
      maxLength: 4,
    }),
    fc.constantFrom('', '/', '/{**}', '/{**}/cart'),
  )
  .map(([segments, end]) => `/${segments.join('/')}${end}`);

export type Layer = 'http' | 'tcp';

const permissionOf = (layer: Layer): fc.Arbitrary<Permission> =>
  fc.letrec<{ permission: Permission }>((tie) => ({
    permission: fc.oneof(
      { maxDepth: 3 },
      fc.constant({ kind: 'any' as const }),
      port.map((value): Permission => ({ kind: 'destinationPort', port: value })),
      cidr.map((range): Permission => ({ kind: 'destinationIp', cidr: range })),
      stringMatcher.map((name): Permission => ({ kind: 'requestedServerName', name })),
      metadata.map((value): Permission => ({ kind: 'metadata', metadata: value })),
      ...(layer === 'tcp'
        ? []
        : [
            header.map((value): Permission => ({ kind: 'header', header: value })),
            stringMatcher.map((path): Permission => ({ kind: 'urlPath', path })),
            template.map((value): Permission => ({ kind: 'uriTemplate', template: value })),
          ]),
      tie('permission').map((rule): Permission => ({ kind: 'not', rule })),
      record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        rules: fc.array(tie('permission'), { minLength: 1, maxLength: 3 }),
      }),
    ),
  })).permission;

const principalOf = (layer: Layer): fc.Arbitrary<Principal> =>
  fc.letrec<{ principal: Principal }>((tie) => ({
    principal: fc.oneof(
      { maxDepth: 3 },
      fc.constant({ kind: 'any' as const }),
      fc.constant({ kind: 'authenticated' as const }),
      stringMatcher.map((name): Principal => ({ kind: 'authenticated', name })),
      cidr.map((range): Principal => ({ kind: 'directRemoteIp', cidr: range })),
      cidr.map((range): Principal => ({ kind: 'remoteIp', cidr: range })),
      metadata.map((value): Principal => ({ kind: 'metadata', metadata: value })),
      ...(layer === 'tcp'
        ? []
        : [
            header.map((value): Principal => ({ kind: 'header', header: value })),
            stringMatcher.map((path): Principal => ({ kind: 'urlPath', path })),
          ]),
      tie('principal').map((id): Principal => ({ kind: 'not', id })),
      record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        ids: fc.array(tie('principal'), { minLength: 1, maxLength: 3 }),
      }),
    ),
  })).principal;

export const rbacRules = (layer: Layer): fc.Arbitrary<RbacRules> =>
  record({
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const, 'LOG' as const),
    policies: fc
      .uniqueArray(
        record({
          name: fc.oneof(someText, fc.constantFrom('1', '__proto__', 'ns[a]-policy[b]-rule[0]')),
          permissions: fc.array(permissionOf(layer), { minLength: 1, maxLength: 3 }),
          principals: fc.array(principalOf(layer), { minLength: 1, maxLength: 3 }),
        }),
        { maxLength: 3, selector: ({ name }) => name },
      )
      .map((policies) => policies.sort((a, b) => (a.name < b.name ? -1 : 1))),
  });
