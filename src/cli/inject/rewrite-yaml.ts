// One YAML document with some of its values changed, and its comments, order and style kept as far as the parser keeps them.
import {
  type Document,
  isCollection,
  isMap,
  isSeq,
  type Node,
  parseDocument,
  visit,
  type YAMLSeq,
} from 'yaml';
import { jsonPatchOf, type PatchOperation } from '@weft/controlplane/inject/json-patch';
import type { PlainObject } from '@weft/model/policy/reader';

type Yaml = Document<Node>;

/**
 * Part by part where that is safe; a document with aliases is written anew, since a change to one would change others.
 * @param before what `text` says
 */
export function rewriteYaml(text: string, before: PlainObject, after: PlainObject): string {
  const document = parseDocument<Node>(text, { logLevel: 'silent' });
  const isPatched =
    !hasAliases(document) &&
    jsonPatchOf(before, after).every((operation) => apply(document, operation));
  if (!isPatched) document.contents = nodeOf(document, after);
  return document.toString({
    lineWidth: 0,
    flowCollectionPadding: false,
    indentSeq: hasIndentedLists(document, text),
  });
}

const nodeOf = (document: Yaml, value: unknown): Node =>
  document.createNode(value, { aliasDuplicateObjects: false });

function hasAliases(document: Yaml): boolean {
  let found = false;
  visit(document, {
    Alias: () => {
      found = true;
      return visit.BREAK;
    },
  });
  return found;
}

/** @returns false where the document is not of the shape that its plain value has. */
function apply(document: Yaml, operation: PatchOperation): boolean {
  const keys = operation.path
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop();
  const parent = keys.length === 0 ? document.contents : document.getIn(keys.map(indexed), true);
  if (last === undefined || !isCollection(parent)) return false;
  if (isSeq(parent)) return applyToList(document, parent, Number(last), operation);
  if (!isMap(parent)) return false;
  if (operation.op === 'remove') return parent.delete(last);
  parent.set(last, nodeOf(document, operation.value));
  return true;
}

/** A list's items are found by number; a mapping's keys are texts even where they look like numbers. */
const indexed = (key: string): string | number => (/^[0-9]+$/.test(key) ? Number(key) : key);

function applyToList(
  document: Yaml,
  list: YAMLSeq,
  index: number,
  operation: PatchOperation,
): boolean {
  switch (operation.op) {
    case 'add':
      list.items.splice(index, 0, nodeOf(document, operation.value));
      return true;
    case 'replace':
      list.items[index] = nodeOf(document, operation.value);
      return true;
    case 'remove':
      list.items.splice(index, 1);
      return true;
  }
  return operation satisfies never;
}

/** Whether lists stand deeper than the keys they belong to; both are common. Decided by the first list that tells. */
function hasIndentedLists(document: Yaml, text: string): boolean {
  const columnOf = (offset: number): number => offset - text.lastIndexOf('\n', offset - 1);
  let isIndented = true;
  visit(document, {
    Pair: (_key, { key, value }) => {
      if (!isSeq(value) || value.flow === true || value.range == null) return undefined;
      const start = (key as Node).range?.[0];
      if (start === undefined) return undefined;
      isIndented = columnOf(value.range[0]) > columnOf(start);
      return visit.BREAK;
    },
  });
  return isIndented;
}
