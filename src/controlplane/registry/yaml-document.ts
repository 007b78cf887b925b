// One YAML document as a plain value: checked for what YAML allows and manifests must not have, each finding with its place.
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml';

/** Line and column within the document's text, counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface YamlFinding extends Place {
  readonly code: string;
  readonly message: string;
  readonly cure?: string;
}

export interface YamlDocument {
  /** `undefined` for an empty document. With findings: what could be made out, not to be trusted. */
  readonly value: unknown;
  /** Empty when the document is sound. */
  readonly findings: readonly YamlFinding[];
  /** Where a field is: the deepest part of the path that exists. `at` leads to the object the path starts from. */
  place(at: readonly (string | number)[], field?: string): Place;
}

/** Levels of nesting. The deepest manifest of Kubernetes has about 20. */
const MAX_DEPTH = 64;
/** Nodes that aliases may add to a document: enough to share labels, too few to blow up. */
const MAX_ALIASED_NODES = 10_000;
/**
 * Characters of one document: about what an API server takes of one object. The parser works through a document in one
 * go, a second or more for this much.
 */
export const MAX_DOCUMENT_LENGTH = 1024 * 1024;
/** Findings kept of one document: more help nobody. */
const MAX_FINDINGS = 20;

/** Never throws: what the parser cannot take is a finding. */
export function readYamlDocument(text: string): YamlDocument {
  const lines = new LineCounter();
  const findings: YamlFinding[] = [];
  const find = (offset: number, code: string, message: string, cure?: string): void => {
    if (findings.length >= MAX_FINDINGS) return;
    const { line, col } = lines.linePos(offset);
    const finding = { line: Math.max(line, 1), column: Math.max(col, 1), code, message };
    findings.push(cure === undefined ? finding : { ...finding, cure });
  };
  if (text.length > MAX_DOCUMENT_LENGTH) {
    const message = `has ${text.length} characters, at most ${MAX_DOCUMENT_LENGTH} are read`;
    const cure = 'split it into several documents';
    return unreadable([{ line: 1, column: 1, code: 'document-too-large', message, cure }]);
  }
  const nul = text.indexOf('\0');
  if (nul !== -1) {
    const before = text.slice(0, nul);
    const place = { line: before.split('\n').length, column: nul - before.lastIndexOf('\n') };
    const message = 'has a null byte: it is half written, or no text';
    return unreadable([{ ...place, code: 'null-byte', message, cure: 'save the file again' }]);
  }
  let root: Node | null;
  try {
    const options = { lineCounter: lines, prettyErrors: false, uniqueKeys: false } as const;
    const document = parseDocument<Node, false>(text, { ...options, logLevel: 'silent' });
    for (const error of [...document.errors, ...document.warnings]) {
      const cure = error.code === 'TAB_AS_INDENT' ? 'write spaces instead of tabs' : undefined;
      find(error.pos[0], 'bad-yaml', `is no valid YAML: ${oneLine(error.message)}`, cure);
    }
    root = document.contents;
  } catch (error) {
    // The parser recurses: text that nests tens of thousands of levels deep exhausts the stack.
    if (!(error instanceof Error)) throw error;
    const message = `is no YAML that can be read: ${oneLine(error.message)}`;
    return unreadable([{ line: 1, column: 1, code: 'bad-yaml', message }]);
  }
  const value = root === null ? undefined : toPlain(root, find);
  return {
    value: value === null ? undefined : value,
    findings,
    place: (at, field = '') => placeOf(root, at, field, lines),
  };
}

const unreadable = (findings: readonly YamlFinding[]): YamlDocument => ({
  value: undefined,
  findings,
  place: () => ({ line: 1, column: 1 }),
});

const oneLine = (message: string): string => message.split('\n', 1)[0] ?? '';

type Find = (offset: number, code: string, message: string, cure?: string) => void;

const offsetOf = (node: unknown): number =>
  isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? (node.range?.[0] ?? 0) : 0;

/** Names are shown in messages: bounded, control characters escaped. */
const quoted = (text: string): string => JSON.stringify(text.slice(0, 120));

function toPlain(root: Node, find: Find): unknown {
  const anchors = new Map<string, Node>();
  let aliasDepth = 0;
  let aliasedNodes = 0;
  let isTooDeep = false;
  const walk = (node: unknown, depth: number): unknown => {
    if (aliasDepth > 0 && ++aliasedNodes > MAX_ALIASED_NODES) return null;
    if (depth > MAX_DEPTH) {
      if (!isTooDeep) find(offsetOf(node), 'too-deep', `nests deeper than ${MAX_DEPTH} levels`);
      isTooDeep = true;
      return null;
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) {
        find(offsetOf(node), 'bad-yaml', `*${node.source.slice(0, 120)} has no anchor before it`);
        return null;
      }
      aliasDepth++;
      const value = walk(target, depth + 1);
      aliasDepth--;
      return value;
    }
    if (isScalar(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      return node.value;
    }
    if (isSeq(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      return node.items.map((item) => walk(item, depth + 1));
    }
    if (!isMap(node)) return null;
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    const plain: Record<string, unknown> = newRecord();
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const name = keyText(key);
      if (name === undefined) {
        find(offsetOf(key), 'bad-key', 'a key must be a text');
        continue;
      }
      if (seen.has(name)) {
        const message = `has the key ${quoted(name)} twice`;
        find(offsetOf(key), 'duplicate-key', message, 'keep one of them');
      }
      if (name === '<<') {
        find(offsetOf(key), 'merge-key', 'merge keys are not supported', 'write the fields out');
      }
      seen.add(name);
      plain[name] = walk(value, depth + 1);
    }
    return plain;
  };
  const value = walk(root, 0);
  if (aliasedNodes > MAX_ALIASED_NODES) {
    const message = `its aliases stand for more than ${MAX_ALIASED_NODES} values`;
    find(0, 'alias-bomb', message, 'write the values out');
  }
  return value;
}

/** Without a prototype, so that `__proto__` is a key like any other. */
const newRecord = (): Record<string, unknown> => {
  const record: Record<string, unknown> = {};
  Object.setPrototypeOf(record, null);
  return record;
};

const keyText = (key: unknown): string | undefined => {
  if (!isScalar(key)) return undefined;
  return typeof key.value === 'string' || typeof key.value === 'number'
    ? String(key.value)
    : typeof key.value === 'boolean' || key.value === null
      ? (key.source ?? String(key.value))
      : undefined;
};

function placeOf(
  root: Node | null,
  at: readonly (string | number)[],
  field: string,
  lines: LineCounter,
): Place {
  let node: unknown = root;
  let offset = offsetOf(root);
  for (const step of at) {
    if (typeof step === 'number') node = isSeq(node) ? node.items[step] : undefined;
    else node = isMap(node) ? pairOf(node.items, step)?.value : undefined;
    if (node === undefined || node === null) break;
    offset = offsetOf(node);
  }
  let rest = field;
  while (rest !== '') {
    const step = isMap(node) ? stepInto(node.items, rest) : stepToItem(node, rest);
    if (step === undefined) break;
    ({ node, rest } = step);
    offset = step.offset;
  }
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

interface PairLike {
  readonly key: unknown;
  readonly value: unknown;
}

const pairOf = (pairs: readonly PairLike[], name: string): PairLike | undefined =>
  pairs.find(({ key }) => keyText(key) === name);

interface Step {
  readonly node: unknown;
  readonly offset: number;
  readonly rest: string;
}

/** Keys may have dots of their own (`weft.dev/inject`): the longest key that the path starts with is meant. */
function stepInto(pairs: readonly PairLike[], path: string): Step | undefined {
  let best: { readonly pair: PairLike; readonly length: number } | undefined;
  for (const pair of pairs) {
    const name = keyText(pair.key);
    if (name === undefined || !path.startsWith(name)) continue;
    const next = path.charAt(name.length);
    if (next !== '' && next !== '.' && next !== '[') continue;
    if (best === undefined || name.length > best.length) best = { pair, length: name.length };
  }
  if (best === undefined) return undefined;
  const rest = path.slice(best.length);
  return {
    node: best.pair.value,
    offset: offsetOf(best.pair.key),
    rest: rest.startsWith('.') ? rest.slice(1) : rest,
  };
}

function stepToItem(node: unknown, path: string): Step | undefined {
  const end = path.indexOf(']');
  if (!isSeq(node) || !path.startsWith('[') || end === -1) return undefined;
  const item = node.items[Number(path.slice(1, end))];
  if (item === undefined) return undefined;
  const rest = path.slice(end + 1);
  return { node: item, offset: offsetOf(item), rest: rest.startsWith('.') ? rest.slice(1) : rest };
}
