// Makes the table of docs/data-planes.md of what the tests of a run showed, and finds where the document says something else.
import { ABSENT, CAPABILITIES, type Capability, type Plane, PLANES } from './rows.ts';

/** `plane capability`, as `shown()` writes them. */
export type Shown = ReadonlySet<string>;

export const YES = 'yes';
export const NOT_SHOWN = 'not shown';

const isPlane = (name: string): name is Plane => Object.hasOwn(PLANES, name);
const isCapability = (name: string): name is Capability => Object.hasOwn(CAPABILITIES, name);

/** Keys in their order. */
const planes = Object.keys(PLANES).filter(isPlane);
const capabilities = Object.keys(CAPABILITIES).filter(isCapability);

/** @param text lines of `plane capability` */
export const readShown = (text: string): Shown =>
  new Set(text.split('\n').filter((line) => line !== ''));

function cellOf(shown: Shown, plane: Plane, capability: Capability): string {
  if (shown.has(`${plane} ${capability}`)) return YES;
  return ABSENT[plane][capability] ?? NOT_SHOWN;
}

/** Markdown, a line each. */
export function tableOf(shown: Shown): readonly string[] {
  const line = (...cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line('', ...planes.map((plane) => PLANES[plane])),
    line('---', ...planes.map(() => '---')),
    ...capabilities.map((capability) =>
      line(CAPABILITIES[capability], ...planes.map((plane) => cellOf(shown, plane, capability))),
    ),
  ];
}

const BEGIN = '<!-- table: begin -->';
const END = '<!-- table: end -->';

/** @throws TypeError when the document has no place for a table. */
function partsOf(document: string): readonly [before: string, table: string, after: string] {
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END);
  if (from === -1 || to < from)
    throw new TypeError(`Cannot find the table: ${BEGIN} and ${END} are missing`);
  const start = from + BEGIN.length;
  return [document.slice(0, start), document.slice(start, to), document.slice(to)];
}

export function withTable(document: string, shown: Shown): string {
  const [before, , after] = partsOf(document);
  return `${before}\n\n${tableOf(shown).join('\n')}\n\n${after}`;
}

/**
 * Where the document says something else than the run showed. A plane of which the run showed nothing at all was not
 * run here, and its column stands.
 * @returns a sentence for each cell.
 */
export function differences(document: string, shown: Shown): readonly string[] {
  const [, table] = partsOf(document);
  const told = new Map(
    table.split('\n').flatMap((line): [string, readonly string[]][] => {
      const [name, ...cells] = line.slice(2, -2).split(' | ');
      return name === undefined ? [] : [[name, cells]];
    }),
  );
  return planes.flatMap((plane, column) => {
    if (![...shown].some((one) => one.startsWith(`${plane} `))) return [];
    return capabilities.flatMap((capability) => {
      const name = CAPABILITIES[capability];
      const [is, was] = [cellOf(shown, plane, capability), told.get(name)?.[column] ?? 'no row'];
      return is === was ? [] : [`${PLANES[plane]}, ${name}: tests say "${is}", it says "${was}"`];
    });
  });
}
