// Reads one manifest file within bounds: what comes out is its objects, or why there are none to be had.
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readObjectsInSteps, type DocumentRead, type ReadFile } from '../read-objects.ts';
import { codeOf, signatureOf, type ScannedFile } from './scan-folder.ts';

/** A thousand objects of the usual size, and four times the largest that an API server takes. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** How long parsing may hold up everything else. */
const MAX_TURN_MS = 8;

export interface ManifestRead {
  readonly file: ReadFile;
  /** Of what was read; differs from the scan's when the file has changed since. */
  readonly signature: string;
  /** It changed while it was read, or ends in the middle of a line: it may be half written. */
  readonly isUnsettled: boolean;
}

/** Never rejects for anything a file may be. */
export async function readManifest(
  name: string,
  scanned: ScannedFile,
  previous: ReadonlyMap<string, DocumentRead> | undefined,
): Promise<ManifestRead> {
  const { path, signature, obstacle } = scanned;
  if (obstacle !== undefined) {
    return { file: unreadable(name, obstacle), signature, isUnsettled: false };
  }
  let content: Content;
  try {
    // Not to wait for a writer, should it have become a pipe since it was looked at.
    await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    content = await readBounded(handle);
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    return { file: unreadable(name, code), signature, isUnsettled: code === 'ENOENT' };
  }
  if (content.text === undefined) {
    const { reason } = content;
    return { file: unreadable(name, reason), signature: content.signature, isUnsettled: false };
  }
  const endsInLine = !name.endsWith('.json') && content.text !== '' && !content.text.endsWith('\n');
  return {
    file: await parse(content.text, name, previous),
    signature: content.signature,
    isUnsettled: content.hasChanged || endsInLine,
  };
}

type Content =
  | { readonly text: string; readonly signature: string; readonly hasChanged: boolean }
  | { readonly text: undefined; readonly signature: string; readonly reason: string };

async function readBounded(handle: FileHandle): Promise<Content> {
  const before = await handle.stat({ bigint: true });
  const signature = signatureOf(before);
  const refuse = (reason: string): Content => ({ text: undefined, signature, reason });
  if (!before.isFile()) return refuse('is no regular file');
  if (before.size > MAX_FILE_BYTES) return refuse(tooLarge(Number(before.size)));
  const buffer = Buffer.allocUnsafe(Number(before.size) + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  const after = signatureOf(await handle.stat({ bigint: true }));
  const hasChanged = after !== signature || length !== Number(before.size);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
    return { text, signature, hasChanged };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return refuse('is no UTF-8 text');
  }
}

const tooLarge = (sizeBytes: number): string =>
  `has ${sizeBytes} bytes, at most ${MAX_FILE_BYTES} are read: split it`;

async function parse(
  text: string,
  name: string,
  previous: ReadonlyMap<string, DocumentRead> | undefined,
): Promise<ReadFile> {
  const steps = readObjectsInSteps(text, name, previous);
  let turnStart = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() - turnStart > MAX_TURN_MS) {
      await nextTurn();
      turnStart = performance.now();
    }
  }
}

function unreadable(file: string, reason: string): ReadFile {
  const message = `cannot be read: ${reason}`;
  return {
    file,
    objects: [],
    problems: [{ severity: 'error', code: 'unreadable-file', message, source: { file } }],
    ignored: [],
    isComplete: false,
    documents: new Map(),
  };
}
