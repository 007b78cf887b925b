// Which files of unit tests share a process, and the entry by which one runs them: most of what a small file costs is the start of Node and its imports.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What one file would do to the tests of another, or others to its figures: such a file has a process of its own. */
const OWN_PROCESS = [
  // Hooks outside of a suite are those of every test of the process.
  /^(?:before|after|beforeEach|afterEach)\(/m,
  // State of the process.
  /process\.env\[[^\]]*\] \??\??=[^=]|process\.env\.\w+ =[^=]|delete process\.env|Object\.assign\(process\.env/,
  /process\.(?:umask|chdir|setuid|setgid|exitCode =|on\(|once\()|setFlagsFromString|globalThis\.\w+ =[^=]|mock\./,
  // Memory is measured: garbage of others counts.
  /memoryUsage|getHeapStatistics|global(?:This)?\.gc|writeHeapSnapshot/,
];

/** Files a process; with more, less is gained by each than is lost by one long process at the end. */
const BATCH = 32;

export interface Batches {
  readonly alone: readonly string[];
  readonly together: readonly (readonly string[])[];
}

/** Neighbours are together, for they import the same; the same files always give the same batches. */
export function batchesOf(files: readonly string[], textOf: (file: string) => string): Batches {
  const alone = files.filter((file) => OWN_PROCESS.some((sign) => sign.test(textOf(file))));
  const shared = files.filter((file) => !alone.includes(file)).toSorted();
  const count = Math.ceil(shared.length / BATCH);
  const bounds = Array.from({ length: count + 1 }, (_, at) =>
    Math.round((at * shared.length) / count),
  );
  const together = bounds.slice(1).map((end, at) => shared.slice(bounds[at], end));
  return { alone, together };
}

/** Tests begin when all files are imported, and one that cannot be imported is a test that fails. */
function entryOf(root: string, files: readonly string[]): string {
  const urls = files.map((file) => pathToFileURL(join(root, file)).href);
  return `import { before, test } from 'node:test';
const urls = ${JSON.stringify(urls, undefined, 2)};
const imported = Promise.allSettled(urls.map((url) => import(url)));
before(() => imported);
for (const [index, { status, reason }] of (await imported).entries()) {
  if (status === 'rejected') test(urls[index], () => { throw reason; });
}
`;
}

/** The files to give to the runner in place of `files`; entries are written into `folder`. */
export function writeBatches(
  root: string,
  files: readonly string[],
  folder: string,
): readonly string[] {
  const { alone, together } = batchesOf(files, (file) => readFileSync(join(root, file), 'utf8'));
  const entries = together.map((batch, index) => {
    const entry = join(folder, `unit-${String(index + 1).padStart(2, '0')}.test.mjs`);
    writeFileSync(entry, entryOf(root, batch));
    return entry;
  });
  return [...alone, ...entries];
}
