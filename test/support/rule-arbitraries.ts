// Random rules and requests of few texts, for properties of policies.
import fc from 'fast-check';

const some = <T>(values: readonly T[]) =>
  fc.option(fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }), {
    nil: undefined,
  });
const PATHS = ['/a', '/a/b', '/a*', '/a/*', '*b', '*', '/a/{*}', '/{**}/b'] as const;
const fields = (record: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
const operation = fc
  .record({
    paths: some(PATHS),
    notPaths: some(PATHS),
    methods: some(['GET', 'POST', 'G*', '*']),
    hosts: some(['web', 'WEB', 'w*', '*b', '*']),
  })
  .map(fields);
const source = fc
  .record({
    principals: some([
      'cluster.local/ns/shop/sa/a',
      'cluster.local/ns/shop/sa/*',
      '*/ns/shop/sa/a',
      '*',
    ]),
    notNamespaces: some(['shop', 's*', 'x']),
  })
  .map(fields);
const nonEmpty = (value: object): boolean => Object.keys(value).length > 0;
/** Rules of few texts, so that they meet. */
export const rules = fc
  .record({
    to: fc.option(fc.array(operation.filter(nonEmpty), { minLength: 1, maxLength: 2 }), {
      nil: undefined,
    }),
    from: fc.option(fc.array(source.filter(nonEmpty), { minLength: 1, maxLength: 2 }), {
      nil: undefined,
    }),
    header: fc.option(fc.constantFrom(['1'], ['1', '2'], ['*'], ['1*']), { nil: undefined }),
  })
  .map(({ to: operations, from: sources, header }) =>
    fields({
      to: operations?.map((one) => ({ operation: one })),
      from: sources?.map((one) => ({ source: one })),
      when: header && [{ key: 'request.headers[x-a]', values: header }],
    }),
  );
/** Requests that such rules tell apart. */
export const httpRequests = fc.record(
  {
    peer: fc.constantFrom(
      'cluster.local/ns/shop/sa/a',
      'cluster.local/ns/shop/sa/b',
      'other.test/ns/shop/sa/a',
      'cluster.local/ns/x/sa/a',
    ),
    method: fc.constantFrom('GET', 'POST'),
    target: fc.constantFrom('/a', '/a/b', '/a/b/b', '/b', '/x', '/a/'),
    authority: fc.constantFrom('web', 'Web', 'wb', 'x'),
    headers: fc.constantFrom({}, { 'x-a': ['1'] }, { 'x-a': ['2'] }, { 'x-a': ['12'] }),
  },
  { requiredKeys: ['method', 'target', 'authority', 'headers'] },
);
