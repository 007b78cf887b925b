// Which parts of a path are names and which are values.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { templateOf } from './path-template.ts';

const CASES: readonly (readonly [string, string])[] = [
  ['/', '/'],
  ['', ''],
  ['/orders/8812/lines', '/orders/{*}/lines'],
  ['/items/3', '/items/{*}'],
  ['/v1/users', '/v1/users'],
  ['/users/6fa459ea-ee8a-3ca4-894e-db77e160355e', '/users/{*}'],
  ['/blobs/deadbeef01', '/blobs/{*}'],
  ['/feed/cafe', '/feed/cafe'],
  ['/shop.Prices/Get', '/shop.Prices/Get'],
  ['/search/a%20b', '/search/{*}'],
  [`/x/${'a'.repeat(65)}`, '/x/{*}'],
  [`/${Array.from({ length: 20 }, () => 'a').join('/')}`, `${'/a'.repeat(12)}/{**}`],
];
for (const [path, template] of CASES) {
  test(`templateOf() makes ${template || 'nothing'} of ${path.slice(0, 40) || 'nothing'}`, () => {
    assert.equal(templateOf(path), template);
  });
}
