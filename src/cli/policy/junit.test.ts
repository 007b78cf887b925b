import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatJUnit } from './junit.ts';

test('formatJUnit() counts failures and lets no text out of its place', () => {
  const xml = formatJUnit([
    {
      name: 'a.yaml',
      cases: [
        { name: 'fine' },
        { name: '<"&\'\u0000>', failure: { message: ']]>', details: '\ud800 </failure>' } },
      ],
    },
  ]);
  assert.match(xml, /<testsuite name="a.yaml" tests="2" failures="1" errors="0">/);
  assert.match(xml, /name="&lt;&quot;&amp;&apos;\ufffd&gt;"/);
  assert.match(xml, /message="\]\]&gt;"/);
  assert.equal(xml.split('</failure>').length, 2);
  assert.ok(xml.isWellFormed());
});
