// Finds in files the lines that problems of a compiled mesh are about.
import { readFile } from 'node:fs/promises';
import { MAX_DOCUMENTS } from '@weft/controlplane/registry/read-objects';
import { splitDocuments, type DocumentText } from '@weft/controlplane/registry/split-documents';
import { readYamlDocument } from '@weft/controlplane/registry/yaml-document';
import { isPlainObject } from '@weft/model/policy/reader';
import type { ObjectRef, Problem, SourcePosition } from '@weft/model/problem';
import type { Manifests } from './load-manifests.ts';

/** Those that have a place keep it; the others get that of their field, or of their object. */
export async function placeProblems(
  problems: readonly Problem[],
  { files }: Manifests,
): Promise<readonly Problem[]> {
  const places = new Map<string, SourcePosition>();
  for (const { objects } of files) {
    for (const { ref, source } of objects) {
      const key = keyOf(ref);
      if (!places.has(key)) places.set(key, source);
    }
  }
  const documents = new Map<string, readonly DocumentText[]>();
  const placed: Problem[] = [];
  for (const problem of problems) {
    const { object, field, source: known } = problem;
    const source = known ?? (object && places.get(keyOf(object)));
    if (source === undefined || known !== undefined || field === undefined) {
      placed.push(source === undefined ? problem : { ...problem, source });
      continue;
    }
    let texts = documents.get(source.file);
    if (texts === undefined) documents.set(source.file, (texts = await readDocuments(source.file)));
    placed.push({ ...problem, source: placeOfField(source, field, texts) });
  }
  return placed;
}

const keyOf = ({ kind, namespace = '', name }: ObjectRef): string => `${kind}/${namespace}/${name}`;

const readDocuments = async (file: string): Promise<readonly DocumentText[]> =>
  splitDocuments(await readFile(file, 'utf8'), MAX_DOCUMENTS).documents;

/** Objects in lists keep the place where they begin. */
function placeOfField(
  source: SourcePosition,
  field: string,
  documents: readonly DocumentText[],
): SourcePosition {
  const line = source.line ?? 1;
  const document = documents.findLast(({ linesBefore }) => linesBefore < line);
  if (document === undefined) return source;
  const read = readYamlDocument(document.text);
  if (!isPlainObject(read.value) || 'items' in read.value) return source;
  const found = read.place([], field);
  return { ...source, line: found.line + document.linesBefore, column: found.column };
}
