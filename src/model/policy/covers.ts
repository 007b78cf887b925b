// Decides whether one rule matches whatever another does; when it cannot tell, it says no.
import { compileTemplate } from './matchers.ts';
import type {
  Condition,
  FieldValues,
  Operation,
  OperationField,
  Rule,
  Source,
  SourceField,
} from './types.ts';

/**
 * Whether every request that `narrow` matches is matched by `wide`, too. Sound and not complete: wildcards that meet in
 * other ways than one within the other are taken as different.
 */
export function coversRule(wide: Rule, narrow: Rule): boolean {
  const coversFrom = everyAlternative(wide.from, narrow.from, (a: Source, b: Source) =>
    coversFields(a, b),
  );
  const coversTo = everyAlternative(wide.to, narrow.to, (a: Operation, b: Operation) =>
    coversFields(a, b),
  );
  return coversFrom && coversTo && wide.when.every((one) => impliedBy(one, narrow.when));
}

/** Alternatives are ORed: each of the narrow ones needs one of the wide ones. Absent matches everything. */
function everyAlternative<T>(
  wide: readonly T[] | undefined,
  narrow: readonly T[] | undefined,
  covers: (wide: T, narrow: T) => boolean,
): boolean {
  if (wide === undefined) return true;
  if (narrow === undefined) return false;
  return narrow.every((one) => wide.some((other) => covers(other, one)));
}

type Fields = readonly FieldValues<SourceField | OperationField>[];

/** Fields are ANDed: what the wide one asks, the narrow one has to ask as strictly. */
const coversFields = (wide: Fields, narrow: Fields): boolean =>
  wide.every((asked) => {
    const own = narrow.find(({ field }) => field === asked.field);
    return own !== undefined && coversValues(asked, own, asked.field);
  });

interface Values {
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

function coversValues(wide: Values, narrow: Values, field: string): boolean {
  const positive =
    wide.values.length === 0 ||
    (narrow.values.length > 0 &&
      narrow.values.every((text) => wide.values.some((other) => coversText(other, text, field))));
  /** All that the wide one excludes, the narrow one excludes at least as widely. */
  const negative = wide.notValues.every((text) =>
    narrow.notValues.some((other) => coversText(other, text, field)),
  );
  return positive && negative;
}

const impliedBy = (asked: Condition, given: readonly Condition[]): boolean =>
  given.some(({ text, values, notValues }) => {
    return text === asked.text && coversValues(asked, { values, notValues }, text);
  });

/** Fields whose star stands for something else than text at an end, or for nothing. */
const EXACT_FIELDS: ReadonlySet<string> = new Set([
  'ports',
  'trustDomains',
  'source.trustDomain',
  'ipBlocks',
  'remoteIpBlocks',
  'serviceAccounts',
  'requestPrincipals',
  'source.ip',
  'remote.ip',
  'destination.ip',
  'destination.port',
  'source.serviceAccount',
  'request.auth.principal',
]);

const TRUST_DOMAIN_FIELDS: ReadonlySet<string> = new Set(['trustDomains', 'source.trustDomain']);
const PRINCIPAL_FIELDS: ReadonlySet<string> = new Set(['principals', 'source.principal']);

/** Only whole names are expanded to the aliases of their trust domain: one that is not covers none of these. */
const areAlikeExpanded = (wide: string, narrow: string): boolean => {
  const [a, b] = [wide.split('/'), narrow.split('/')];
  return a[0] === '*' || (a.length === 5 && b.length === 5 && a[0] === b[0]);
};

function coversText(wide: string, narrow: string, field: string): boolean {
  const [a, b] = field === 'hosts' ? [wide.toLowerCase(), narrow.toLowerCase()] : [wide, narrow];
  if (a === b) return true;
  if (EXACT_FIELDS.has(field)) return a === '*' && TRUST_DOMAIN_FIELDS.has(field);
  if (field === 'paths' && a.includes('{')) {
    return !b.includes('{') && !b.includes('*') && compileTemplate(a, { isWide: false })(b);
  }
  if (b.includes('{') && field === 'paths') {
    return a === '*' || (a.endsWith('*') && b.slice(0, b.indexOf('{')).startsWith(a.slice(0, -1)));
  }
  if (a === '*') return true;
  if (PRINCIPAL_FIELDS.has(field) && !areAlikeExpanded(a, b)) return false;
  if (a.endsWith('*')) return !b.startsWith('*') && b.startsWith(a.slice(0, -1));
  if (a.startsWith('*')) return !b.endsWith('*') && b.endsWith(a.slice(1));
  return false;
}
