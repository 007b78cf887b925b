// Expectations about calls as a team writes them beside its policies, and whether the policies meet them.
import type { Registry } from '../mesh/addressees.ts';
import type { Result } from '../problem.ts';
import { explainCalls, formatQuestionProblems, type CallExplanation } from './explain-calls.ts';
import { DEFAULT_QUESTION, type CallQuestion } from './question.ts';
import { isPlainObject, Reader, shown, type PlainObject } from './reader.ts';

export const TEST_API_VERSION = 'test.weft.dev/v1';
export const TEST_KIND = 'PolicyTest';

export interface Expectation {
  readonly name: string;
  readonly question: CallQuestion;
  readonly expect: 'allow' | 'deny';
  /** `NAMESPACE/NAME` of the policy that has to decide. */
  readonly by: string | undefined;
}

export interface ExpectationFile {
  /** Files and folders, relative to this one. Default: its folder. */
  readonly policies: readonly string[];
  readonly tests: readonly Expectation[];
}

export interface ExpectationResult {
  readonly expectation: Expectation;
  /** `mixed`: some of the workloads allow it and others do not. */
  readonly actual: 'allow' | 'deny' | 'mixed' | 'unknown';
  readonly isMet: boolean;
  /** What is different, or why it could not be judged. */
  readonly why: string;
  readonly answers: readonly CallExplanation[];
}

const FILE_KEYS = ['apiVersion', 'kind', 'metadata', 'policies', 'tests'] as const;
const TEST_KEYS = [
  'name',
  'from',
  'to',
  'port',
  'protocol',
  'method',
  'path',
  'host',
  'headers',
  'claims',
  'sourceIp',
  'sni',
  'expect',
  'by',
] as const;
const MAX_TESTS = 10_000;
const MAX_VALUES = 64;
/** How a caller without a certificate is written. */
const PLAINTEXT = 'plaintext';

/** Where `from`, `method` or `path` is a list, each combination is an expectation. */
export function parseExpectations(value: PlainObject): Result<ExpectationFile> {
  const reader = new Reader();
  reader.object(value, '', FILE_KEYS);
  const { kind } = value;
  if (kind !== undefined && kind !== TEST_KIND) {
    reader.error(
      'kind',
      'bad-value',
      `is ${shown(JSON.stringify(kind) ?? '')}`,
      `write kind: ${TEST_KIND}`,
    );
  }
  const listed = value['policies'];
  const policies =
    typeof listed === 'string' ? [listed] : reader.strings(listed, 'policies', MAX_VALUES);
  const entries = reader.list(value['tests'], 'tests', MAX_TESTS);
  if (entries === undefined || entries.length === 0) {
    reader.error(
      'tests',
      'missing',
      'has no tests',
      'write tests: with from, to and expect of each',
    );
  }
  const tests = (entries ?? []).flatMap((entry, index) =>
    readTest(reader, entry, `tests[${index}]`),
  );
  const { problems } = reader;
  if (problems.length > 0) return { ok: false, problems };
  const file = { policies: policies.length === 0 ? ['.'] : policies, tests };
  return { ok: true, value: file, problems };
}

function readTest(reader: Reader, entry: unknown, field: string): readonly Expectation[] {
  const test = reader.object(entry, field, TEST_KEYS);
  if (test === undefined) return [];
  const text = (key: string): string | undefined => reader.string(test[key], `${field}.${key}`);
  const each = (key: string): readonly (string | undefined)[] => {
    const value = test[key];
    return Array.isArray(value)
      ? reader.strings(value, `${field}.${key}`, MAX_VALUES)
      : [text(key)];
  };
  const expect = test['expect'];
  if (expect !== 'allow' && expect !== 'deny') {
    reader.error(`${field}.expect`, 'bad-value', 'is missing or unknown', 'write allow or deny');
    return [];
  }
  const to = text('to');
  if (to === undefined) {
    reader.error(`${field}.to`, 'missing', 'is missing', 'write NAMESPACE/NAME: shop/prices');
    return [];
  }
  const protocol = test['protocol'] ?? 'http';
  if (protocol !== 'http' && protocol !== 'tcp') {
    reader.error(`${field}.protocol`, 'bad-value', 'is neither', 'write http or tcp');
    return [];
  }
  const base = {
    to,
    protocol,
    port: readPort(reader, test['port'], `${field}.port`),
    host: text('host'),
    sourceIp: text('sourceIp'),
    sni: text('sni'),
    headers: readPairs(reader, test['headers'], `${field}.headers`),
    claims: readPairs(reader, test['claims'], `${field}.claims`),
  } as const;
  const by = text('by');
  const name = text('name');
  const found: Expectation[] = [];
  for (const from of each('from')) {
    if (from === undefined) {
      const cure = `write NAMESPACE/SERVICE-ACCOUNT, or ${PLAINTEXT}`;
      reader.error(`${field}.from`, 'missing', 'is missing', cure);
    }
    for (const method of each('method')) {
      for (const path of each('path')) {
        const question: CallQuestion = {
          ...base,
          from: from === PLAINTEXT ? undefined : from,
          method: method ?? DEFAULT_QUESTION.method,
          path: path ?? DEFAULT_QUESTION.path,
        };
        found.push({ name: name ?? describeCall(question), question, expect, by });
      }
    }
  }
  return found;
}

function readPort(reader: Reader, value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_535) {
    return value;
  }
  reader.error(
    field,
    'bad-value',
    `${shown(JSON.stringify(value) ?? '')} is no port`,
    'write 1 to 65535',
  );
  return undefined;
}

/** A mapping of names to a text or a list of texts. */
function readPairs(
  reader: Reader,
  value: unknown,
  field: string,
): readonly (readonly [string, string])[] {
  if (value === undefined) return [];
  if (!isPlainObject(value)) {
    reader.error(field, 'wrong-type', 'is no mapping', 'write NAME: VALUE');
    return [];
  }
  return Object.entries(value).flatMap(([name, entry]) => {
    const at = `${field}.${name}`;
    const texts = Array.isArray(entry)
      ? reader.strings(entry, at, MAX_VALUES)
      : [reader.string(entry, at) ?? ''];
    return texts.map((text) => [name, text] as const);
  });
}

export function describeCall({ from, to, port, protocol, method, path }: CallQuestion): string {
  const what = protocol === 'tcp' ? 'a TCP connection' : `${method} ${path}`;
  return `${from ?? PLAINTEXT} → ${to}${port === undefined ? '' : `:${port}`}: ${what}`;
}

export function checkExpectation(registry: Registry, expectation: Expectation): ExpectationResult {
  const { question, expect, by } = expectation;
  const explained = explainCalls(registry, question);
  if (!explained.ok) {
    const why = formatQuestionProblems(explained);
    return { expectation, actual: 'unknown', isMet: false, why, answers: [] };
  }
  const answers = explained.value;
  const allowed = answers.filter(({ isAllowed }) => isAllowed).length;
  const actual = allowed === answers.length ? 'allow' : allowed === 0 ? 'deny' : 'mixed';
  if (actual !== expect) {
    const why = `expected ${expect}, decided ${actual}`;
    return { expectation, actual, isMet: false, why, answers };
  }
  const other = by === undefined ? undefined : answers.find((one) => policyOf(one) !== by);
  if (other === undefined) return { expectation, actual, isMet: true, why: '', answers };
  const why = `expected ${by} to decide, decided by ${policyOf(other) ?? `none (${other.reason})`}`;
  return { expectation, actual, isMet: false, why, answers };
}

/** `NAMESPACE/NAME` of `ns[NAMESPACE]-policy[NAME]-rule[I]`. */
function policyOf({ decidedBy }: CallExplanation): string | undefined {
  const parts = decidedBy?.split('[');
  const [, namespace, name] = parts?.map((part) => part.split(']', 1)[0]) ?? [];
  return namespace === undefined || name === undefined ? undefined : `${namespace}/${name}`;
}
