// Resources of one kind by name: held, asked for, or known not to exist.

export interface Entry<T> {
  /** Absent while asked for; `gone` when the control plane says that there is none. */
  value: T | undefined;
  isGone: boolean;
}

export type Table<T> = Map<string, Entry<T>>;

export function fill<T>(
  table: Table<T>,
  changed: ReadonlyMap<string, T>,
  removed: ReadonlySet<string>,
): void {
  for (const [name, value] of changed) {
    const entry = table.get(name);
    if (entry === undefined) continue;
    entry.value = value;
    entry.isGone = false;
  }
  for (const name of removed) {
    const entry = table.get(name);
    if (entry === undefined) continue;
    entry.value = undefined;
    entry.isGone = true;
  }
}
