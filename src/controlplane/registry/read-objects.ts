// Takes the text of one manifest file apart: every object in it, sound or not, with its place and what is wrong with it.
import { hash } from 'node:crypto';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { isPlainObject, shown, type PlainObject } from '@weft/model/policy/reader';
import type { ObjectRef, Problem, SourcePosition } from '@weft/model/problem';
import { identify, UNNAMED } from './identify.ts';
import { classify, type Kind } from './kinds.ts';
import { splitDocuments } from './split-documents.ts';
import { readYamlDocument, type YamlDocument, type YamlFinding } from './yaml-document.ts';

export interface ReadObject {
  /** The same for every version of one object: `Service/shop/web`. */
  readonly key: string;
  readonly ref: ObjectRef;
  readonly source: SourcePosition;
  readonly outcome: ObjectOutcome;
  /** Complete with object and position. */
  readonly problems: readonly Problem[];
}

export type ObjectOutcome =
  /** Without an object: sound, and nothing that the mesh uses. */
  | { readonly kind: 'good'; readonly object: RegistryObject | undefined }
  | { readonly kind: 'bad'; readonly closed: RegistryObject | undefined };

export interface IgnoredKind {
  readonly name: string;
  readonly source: SourcePosition;
}

export interface ReadFile {
  /** Relative to the folder, with slashes. */
  readonly file: string;
  readonly objects: readonly ReadObject[];
  /** What belongs to no object. */
  readonly problems: readonly Problem[];
  readonly ignored: readonly IgnoredKind[];
  /** False when there may be objects in it that could not be made out: then the absence of one says nothing. */
  readonly isComplete: boolean;
  /** For the next reading of this file, so that documents that did not change are the same objects. */
  readonly documents: ReadonlyMap<string, DocumentRead>;
}

/** What one document gives; lines count within it and the file's name is left open. */
export type DocumentRead = Omit<ReadFile, 'file' | 'documents'>;

/** Far above any set of manifests that one file holds; a bound on what one file can take. */
export const MAX_DOCUMENTS = 10_000;
/** Entries of one List. */
const MAX_ITEMS = 10_000;
const UNPLACED: SourcePosition = { file: '', line: 1, column: 1 };

export function readObjects(
  text: string,
  file: string,
  previous?: ReadonlyMap<string, DocumentRead>,
): ReadFile {
  const steps = readObjectsInSteps(text, file, previous);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** As `readObjects`, pausing after each document so that a large file need not hold up everything else. */
export function* readObjectsInSteps(
  text: string,
  file: string,
  previous: ReadonlyMap<string, DocumentRead> = new Map(),
): Generator<undefined, ReadFile> {
  const { documents, isCut } = splitDocuments(
    text.startsWith('\ufeff') ? text.slice(1) : text,
    MAX_DOCUMENTS,
  );
  const reads: DocumentRead[] = [];
  const byHash = new Map<string, DocumentRead>();
  for (const document of documents) {
    const key = hash('sha256', document.text);
    const read = previous.get(key) ?? byHash.get(key) ?? readDocument(document.text);
    byHash.set(key, read);
    reads.push(placed(read, file, document.linesBefore));
    yield;
  }
  const problems = reads.flatMap((read) => read.problems);
  if (isCut) {
    const message = `has more than ${MAX_DOCUMENTS} documents: the rest is not read`;
    const cure = 'split the file';
    problems.push({
      severity: 'error',
      code: 'too-many-documents',
      message,
      cure,
      source: { file },
    });
  }
  return {
    file,
    objects: reads.flatMap((read) => read.objects),
    problems,
    ignored: reads.flatMap((read) => read.ignored),
    isComplete: !isCut && reads.every((read) => read.isComplete),
    documents: byHash,
  };
}

function placed(read: DocumentRead, file: string, linesBefore: number): DocumentRead {
  const place = <T extends { readonly source?: SourcePosition }>(item: T): T => {
    const source = item.source ?? UNPLACED;
    return { ...item, source: { ...source, file, line: (source.line ?? 1) + linesBefore } };
  };
  return {
    objects: read.objects.map((object) => ({
      ...place(object),
      problems: object.problems.map(place),
    })),
    problems: read.problems.map(place),
    ignored: read.ignored.map(place),
    isComplete: read.isComplete,
  };
}

/** What is found out about one document while its objects are read. */
interface Finds {
  readonly document: YamlDocument;
  readonly objects: ReadObject[];
  readonly problems: Problem[];
  readonly ignored: IgnoredKind[];
  isComplete: boolean;
}

export function readDocument(text: string): DocumentRead {
  const document = readYamlDocument(text);
  const isSound = document.findings.length === 0;
  const finds: Finds = { document, objects: [], problems: [], ignored: [], isComplete: isSound };
  if (document.value !== undefined) readValue(finds, document.value, []);
  if (!isSound) {
    // Named after the object when there is one: that is what its author looks for.
    const [only] = finds.objects;
    const ref = finds.objects.length === 1 ? only?.ref : undefined;
    finds.problems.push(...document.findings.map((finding) => problemOf(finding, ref)));
  }
  const { objects, problems, ignored, isComplete } = finds;
  return { objects, problems, ignored, isComplete };
}

function problemOf(finding: YamlFinding, object: ObjectRef | undefined): Problem {
  const { line, column, code, message, cure } = finding;
  return {
    severity: 'error',
    code,
    message,
    source: { file: '', line, column },
    ...(cure === undefined ? {} : { cure }),
    ...(object === undefined ? {} : { object }),
  };
}

type At = readonly (string | number)[];

const sourceAt = (finds: Finds, at: At, field?: string): SourcePosition => ({
  file: '',
  ...finds.document.place(at, field),
});

/** Something stands here and cannot be told: the file may hold objects that were not made out. */
function giveUp(finds: Finds, at: At, code: string, message: string, cure: string): void {
  finds.isComplete = false;
  if (finds.document.findings.length > 0) return;
  const source = sourceAt(finds, at);
  finds.problems.push({ severity: 'error', code, message, cure, source });
}

function readValue(finds: Finds, value: unknown, at: At, listKind?: string): void {
  if (!isPlainObject(value)) {
    giveUp(finds, at, 'no-object', 'is no Kubernetes object', 'write apiVersion, kind, metadata');
    return;
  }
  const kind = value['kind'] ?? listKind;
  const apiVersion = value['apiVersion'] ?? '';
  if (typeof kind !== 'string' || kind === '' || typeof apiVersion !== 'string') {
    giveUp(finds, at, 'no-kind', 'has no kind or apiVersion that is a text', 'set both');
    return;
  }
  if (kind.endsWith('List') && 'items' in value) {
    readList(finds, value, kind.slice(0, -'List'.length), at);
    return;
  }
  const classified = classify(apiVersion, kind);
  if (classified === 'tool') return;
  if (classified === 'unknown') {
    const message = `unknown kind ${shown(kind)} of ${shown(apiVersion)}`;
    giveUp(finds, at, 'unknown-kind', message, 'check the spelling of kind');
  } else if (classified === 'ignored') {
    const name = `${apiVersion.slice(0, 253)} ${kind.slice(0, 253)}`;
    finds.ignored.push({ name, source: sourceAt(finds, at) });
  } else readOne(finds, classified, { ...value, kind }, at);
}

function readList(finds: Finds, list: PlainObject, kind: string, at: At): void {
  const entries = list['items'];
  if (entries === null) return;
  if (!Array.isArray(entries) || entries.length > MAX_ITEMS || at.length > 0) {
    const message = `items must be a list of at most ${MAX_ITEMS} objects that are no lists`;
    giveUp(finds, at, 'bad-list', message, 'split the list');
    return;
  }
  const values: readonly unknown[] = entries;
  values.forEach((entry, index) => {
    const inherits = kind !== '' && isPlainObject(entry) && entry['apiVersion'] === undefined;
    const value = inherits ? { ...entry, apiVersion: list['apiVersion'] } : entry;
    readValue(finds, value, ['items', index], kind === '' ? undefined : kind);
  });
}

function readOne(finds: Finds, kind: Kind, object: PlainObject, at: At): void {
  const { key, ref } = identify(kind, object);
  const source = sourceAt(finds, at);
  const add = (objectKey: string, outcome: ObjectOutcome, problems: readonly Problem[]): void => {
    finds.objects.push({ key: objectKey, ref, source, outcome, problems });
  };
  if (finds.document.findings.length > 0) {
    // Nothing in it can be trusted but what it is: the whole scope is meant.
    const closed = kind.close?.({ kind: kind.kind, metadata: object['metadata'] });
    add(key, { kind: 'bad', closed }, []);
    return;
  }
  const reading = kind.read(object);
  const problems = reading.problems.map((problem) => ({
    ...problem,
    object: ref,
    source: sourceAt(finds, at, problem.field),
  }));
  if (reading.kind === 'bad') {
    // The Pods that it stood for have keys of their own; and what says no name may be any object that was in the file.
    if (kind.kind === 'Deployment' || ref.name === UNNAMED) finds.isComplete = false;
    add(key, { kind: 'bad', closed: reading.closed }, problems);
  } else if (kind.kind === 'Deployment') {
    for (const pod of reading.objects) {
      const podKey = pod.kind === 'Pod' ? `Pod/${pod.meta.namespace}/${pod.meta.name}` : key;
      add(podKey, { kind: 'good', object: pod }, []);
    }
  } else add(key, { kind: 'good', object: reading.objects[0] }, problems);
}
