// Reads the workloads out of manifests, each with its place, and passes over everything else.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { scanFolder } from '@weft/controlplane/registry/file/scan-folder';
import { readWorkload, type Workload } from '@weft/model/admission/workload';
import { isPlainObject } from '@weft/model/policy/reader';
import { LineCounter, parseAllDocuments } from 'yaml';

export const STDIN = '-';

export interface PlacedWorkload {
  readonly file: string;
  readonly line: number;
  readonly workload: Workload;
}

/** @throws Error when a file cannot be read, or is no YAML: what was not looked at has not passed. */
export async function readWorkloads(paths: readonly string[]): Promise<readonly PlacedWorkload[]> {
  const found: PlacedWorkload[] = [];
  for (const path of paths) {
    if (path === STDIN)
      found.push(...workloadsIn('(standard input)', await readAll(process.stdin)));
    else for (const file of await filesAt(path)) found.push(...workloadsIn(file, await read(file)));
  }
  return found;
}

async function filesAt(path: string): Promise<readonly string[]> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw new Error(`Cannot read ${path}: there is no such file or folder`, { cause });
  });
  if (!stats.isDirectory()) return [path];
  const { files } = await scanFolder(path);
  return [...files.keys()].map((name) => join(path, name));
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot read ${file}: ${why}`, { cause: error });
  }
}

function workloadsIn(file: string, text: string): readonly PlacedWorkload[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { logLevel: 'silent', lineCounter: lines });
  return [...documents].flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0]);
      throw new Error(`Cannot read ${file}:${line}: ${error.message.split('\n')[0]}`);
    }
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    const { line } = lines.linePos(document.contents?.range?.[0] ?? 0);
    return objectsIn(value).flatMap((object) => {
      const workload = isPlainObject(object) ? readWorkload(object) : undefined;
      return workload === undefined ? [] : [{ file, line, workload }];
    });
  });
}

/** A List holds more of them. */
const objectsIn = (value: unknown): readonly unknown[] => {
  const items: unknown = isPlainObject(value) ? value['items'] : undefined;
  return Array.isArray(items) ? items : [value];
};
