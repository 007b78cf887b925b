// Draws bar charts as SVG for the docs: groups of bars that lie below one another, each with its spread.

export interface Bar {
  readonly series: string;
  readonly value: number;
  /** The lowest and highest round; absent where there was one alone. */
  readonly min?: number;
  readonly max?: number;
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

export interface BarChart {
  readonly title: string;
  /** Below the title: what the bars are, in which unit. */
  readonly unit: string;
  readonly groups: readonly BarGroup[];
  /** Below the bars: machine, commit, date. */
  readonly note: string;
}

const WIDTH = 760;
const LABELS_WIDTH = 250;
/** For the figure behind the longest bar. */
const FIGURE_WIDTH = 90;
const BAR_HEIGHT = 14;
const BAR_STEP = 18;
const GROUP_GAP = 12;
const HEAD_HEIGHT = 76;
const FOOT_HEIGHT = 34;
/** Told apart also by who sees no red or green; series take them in the order in which they first come. */
const COLOURS = ['#0072b2', '#56b4e9', '#e69f00', '#999999', '#009e73'];
const FONT = 'font-family="system-ui, sans-serif"';

const escaped = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

const number = (value: number): string => String(Number(value.toFixed(1)));

/** Three digits that say something. */
const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

const text = (at: { readonly x: number; readonly y: number }, content: string, more = ''): string =>
  `<text x="${number(at.x)}" y="${number(at.y)}" fill="#222" font-size="12"${more}>${escaped(content)}</text>`;

/** The same text for the same chart. @throws RangeError when there is no bar, or one is no number from 0. */
export function drawBars(chart: BarChart): string {
  const bars = chart.groups.flatMap((group) => group.bars);
  if (bars.length === 0) throw new RangeError(`Cannot draw "${chart.title}": there is no bar`);
  for (const { series, value } of bars) {
    if (value >= 0 && Number.isFinite(value)) continue;
    throw new RangeError(`Cannot draw "${chart.title}": ${series} is ${value}`);
  }
  const series = [...new Set(bars.map((bar) => bar.series))];
  const longest = Math.max(...bars.map(({ value, max = value }) => Math.max(value, max)));
  const perUnit = (WIDTH - LABELS_WIDTH - FIGURE_WIDTH) / (longest === 0 ? 1 : longest);
  const parts: string[] = [
    text({ x: 16, y: 24 }, chart.title, ' font-weight="600"'),
    text({ x: 16, y: 42 }, chart.unit),
    ...legend(series),
  ];
  let y = HEAD_HEIGHT;
  for (const { label, bars: own } of chart.groups) {
    const middle = y + (own.length * BAR_STEP) / 2 + 4;
    parts.push(text({ x: LABELS_WIDTH - 10, y: middle }, label, ' text-anchor="end"'));
    for (const bar of own) {
      parts.push(...drawBar(bar, { y, perUnit, colour: colourOf(series, bar.series) }));
      y += BAR_STEP;
    }
    y += GROUP_GAP;
  }
  parts.push(text({ x: 16, y: y + 12 }, chart.note, ' fill-opacity="0.7"'));
  const height = y + FOOT_HEIGHT - GROUP_GAP;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" ${FONT}>`,
    `<title>${escaped(chart.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

const colourOf = (series: readonly string[], name: string): string =>
  COLOURS[series.indexOf(name) % COLOURS.length] ?? '#000';

/** About so many pixels a letter. */
const LETTER_WIDTH = 7;

function legend(series: readonly string[]): readonly string[] {
  let x = 16;
  return series.map((name) => {
    const mark = `<rect x="${x}" y="52" width="10" height="10" fill="${colourOf(series, name)}"/>`;
    const word = text({ x: x + 15, y: 61 }, name);
    x += 35 + name.length * LETTER_WIDTH;
    return mark + word;
  });
}

function drawBar(
  bar: Bar,
  at: { readonly y: number; readonly perUnit: number; readonly colour: string },
): readonly string[] {
  const { y, perUnit, colour } = at;
  const { value, min = value, max = value } = bar;
  const x = (of: number): number => LABELS_WIDTH + of * perUnit;
  const width = Math.max(1, value * perUnit);
  const drawn = [
    `<rect x="${LABELS_WIDTH}" y="${y}" width="${number(width)}" height="${BAR_HEIGHT}" fill="${colour}"/>`,
  ];
  const middle = y + BAR_HEIGHT / 2;
  if (max > min) {
    const path = `M${number(x(min))} ${middle}H${number(x(max))}`;
    drawn.push(`<path d="${path}" stroke="#222" stroke-width="1.5"/>`);
  }
  drawn.push(text({ x: x(Math.max(value, max)) + 6, y: y + 11 }, figure(value)));
  return drawn;
}
