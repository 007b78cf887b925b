// Changes workloads in a text of YAML documents, and leaves every other character where it was: comments, order, documents of other kinds.
import type { WorkloadOutcome } from '@weft/controlplane/inject/inject-workload';
import { listAt, objectAt, textAt } from '@weft/controlplane/inject/pod-shape';
import { splitDocuments } from '@weft/controlplane/registry/split-documents';
import { readYamlDocument } from '@weft/controlplane/registry/yaml-document';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { ObjectRef, Problem, SourcePosition } from '@weft/model/problem';
import { rewriteYaml } from './rewrite-yaml.ts';

/** What became of one object. */
export interface Note {
  /** `Deployment shop/web`. */
  readonly object: string;
  readonly outcome: WorkloadOutcome;
}

export interface EditedManifests {
  readonly text: string;
  readonly notes: readonly Note[];
  /** Not empty: `text` is not to be used. */
  readonly problems: readonly Problem[];
}

const MAX_DOCUMENTS = 10_000;

export function editManifests(
  file: string,
  text: string,
  edit: (manifest: PlainObject) => WorkloadOutcome,
): EditedManifests {
  const { documents, isCut } = splitDocuments(text, MAX_DOCUMENTS);
  const notes: Note[] = [];
  const problems: Problem[] = [];
  if (isCut) {
    const message = `there are more than ${MAX_DOCUMENTS} documents`;
    problems.push({ severity: 'error', code: 'too-many', message, source: { file } });
  }
  let edited = '';
  let cursor = 0;
  for (const document of documents) {
    const start = text.indexOf(document.text, cursor);
    edited += text.slice(cursor, start);
    cursor = start + document.text.length;
    const read = readYamlDocument(document.text);
    const placed = ({ line, column }: { line: number; column: number }): SourcePosition => ({
      file,
      line: line + document.linesBefore,
      column,
    });
    for (const { code, message, cure, ...place } of read.findings) {
      const problem = { severity: 'error', code, message, source: placed(place) } as const;
      problems.push(cure === undefined ? problem : { ...problem, cure });
    }
    if (read.findings.length > 0 || !isPlainObject(read.value)) {
      edited += document.text;
      continue;
    }
    const result = editObject(read.value, edit, []);
    notes.push(...result.notes);
    for (const { at, problem, object } of result.refusals) {
      problems.push({ ...problem, object, source: placed(read.place(at, problem.field)) });
    }
    edited +=
      result.after === read.value
        ? document.text
        : rewriteYaml(document.text, read.value, result.after);
  }
  return { text: edited + text.slice(cursor), notes, problems };
}

interface EditedObject {
  readonly after: PlainObject;
  readonly notes: readonly Note[];
  readonly refusals: readonly {
    readonly at: readonly (string | number)[];
    readonly problem: Problem;
    readonly object: ObjectRef;
  }[];
}

/** `kubectl get -o yaml` wraps what it found in a List. */
function editObject(
  manifest: PlainObject,
  edit: (manifest: PlainObject) => WorkloadOutcome,
  at: readonly (string | number)[],
): EditedObject {
  if (manifest['kind'] === 'List' && manifest['apiVersion'] === 'v1' && at.length === 0) {
    const items = listAt(manifest, 'items').map((item, index) =>
      editObject(item, edit, ['items', index]),
    );
    const isChanged = items.some(({ after }, index) => after !== listAt(manifest, 'items')[index]);
    return {
      after: isChanged ? { ...manifest, items: items.map(({ after }) => after) } : manifest,
      notes: items.flatMap(({ notes }) => notes),
      refusals: items.flatMap(({ refusals }) => refusals),
    };
  }
  const outcome = edit(manifest);
  const object = refOf(manifest);
  const name = object.namespace === undefined ? object.name : `${object.namespace}/${object.name}`;
  return {
    after: outcome.kind === 'changed' ? outcome.manifest : manifest,
    notes: [{ object: `${object.kind} ${name}`, outcome }],
    refusals:
      outcome.kind === 'refused'
        ? outcome.problems.map((problem) => ({ at, problem, object }))
        : [],
  };
}

function refOf(manifest: PlainObject): ObjectRef {
  const metadata = objectAt(manifest, 'metadata');
  const namespace = textAt(metadata, 'namespace');
  const kind = textAt(manifest, 'kind') ?? '(no kind)';
  const name = textAt(metadata, 'name') ?? textAt(metadata, 'generateName') ?? '(no name)';
  return namespace === undefined ? { kind, name } : { kind, namespace, name };
}
