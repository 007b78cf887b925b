import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BarChart, drawBars } from './charts.ts';

const CHART: BarChart = {
  title: 'CPU <of> both',
  unit: 'µs a request',
  note: 'today & here',
  groups: [
    {
      label: 'small',
      bars: [
        { series: 'weft', value: 50, min: 40, max: 60 },
        { series: 'envoy', value: 100 },
      ],
    },
    { label: 'large', bars: [{ series: 'envoy', value: 0 }] },
  ],
};

const widthsOf = (svg: string): readonly number[] =>
  [...svg.matchAll(/<rect x="250" y="\d+" width="([\d.]+)"/g)].map(([, width]) => Number(width));

test('drawBars() makes bars as long as what they say, and none invisible', () => {
  const [half = 0, whole = 0, none] = widthsOf(drawBars(CHART));
  assert.equal(half * 2, whole);
  assert.equal(none, 1);
});

test('drawBars() draws a spread only where there is one', () => {
  assert.equal(drawBars(CHART).match(/<path /g)?.length, 1);
});

test('drawBars() gives one series the same colour in every group', () => {
  const colours = [...drawBars(CHART).matchAll(/height="14" fill="(#\w+)"/g)].map(([, of]) => of);
  assert.equal(colours.length, 3);
  assert.equal(colours[1], colours[2]);
  assert.notEqual(colours[0], colours[1]);
});

test('drawBars() escapes what it was told', () => {
  const svg = drawBars(CHART);
  assert.ok(svg.includes('CPU &lt;of&gt; both') && svg.includes('today &amp; here'));
  assert.ok(!svg.includes('<of>'));
});

test('drawBars() gives the same text for the same chart', () => {
  assert.equal(drawBars(CHART), drawBars(structuredClone(CHART)));
});

test('drawBars() refuses what is no length', () => {
  const withBar = (value: number): BarChart => ({
    ...CHART,
    groups: [{ label: 'bad', bars: [{ series: 'weft', value }] }],
  });
  assert.throws(() => drawBars(withBar(Number.NaN)), RangeError);
  assert.throws(() => drawBars(withBar(-1)), RangeError);
  assert.throws(() => drawBars({ ...CHART, groups: [] }), /no bar/);
});
