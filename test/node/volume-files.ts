// Writes a volume's files as a kubelet does: readers see the old version or the new one, never a mixture.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  readFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export interface FileStyle {
  readonly mode: number;
  /** Group that owns the files; they are then readable to it. */
  readonly group: number | undefined;
}

function isSame(folder: string, files: ReadonlyMap<string, Buffer>): boolean {
  if (!existsSync(join(folder, '..data'))) return false;
  const listed = readdirSync(join(folder, '..data'), { recursive: true, withFileTypes: true });
  if (listed.filter((entry) => entry.isFile()).length !== files.size) return false;
  return [...files].every(([path, content]) => {
    const file = join(folder, '..data', path);
    return existsSync(file) && readFileSync(file).equals(content);
  });
}

/** @returns whether anything has changed. */
export function writeVolume(
  folder: string,
  files: ReadonlyMap<string, Buffer>,
  { mode, group }: FileStyle,
): boolean {
  if (isSame(folder, files)) return false;
  const current = join(folder, '..data');
  const old = existsSync(current) ? readlinkSync(current) : undefined;
  const fresh = mkdtempSync(join(folder, '..v'));
  chmodSync(fresh, 0o755);
  for (const [path, content] of files) {
    const file = join(fresh, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    chmodSync(file, group === undefined ? mode : mode | 0o040);
    if (group !== undefined) chownSync(file, 0, group);
  }
  symlinkSync(fresh.slice(folder.length + 1), `${current}_tmp`);
  renameSync(`${current}_tmp`, current);
  linkNames(folder, files);
  if (old !== undefined) rmSync(join(folder, old), { recursive: true });
  return true;
}

function linkNames(folder: string, files: ReadonlyMap<string, Buffer>): void {
  const wanted = new Set([...files.keys()].map((path) => path.split('/', 1)[0] ?? ''));
  for (const name of readdirSync(folder)) {
    if (!name.startsWith('..') && !wanted.delete(name)) rmSync(join(folder, name));
  }
  for (const name of wanted) symlinkSync(join('..data', name), join(folder, name));
}
