// Which names a program may use for a service, and which are never asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceHostOf } from './service-host.ts';

const hostOf = serviceHostOf({ namespace: 'shop', domain: 'cluster.local' });
const PRICES = 'prices.shop.svc.cluster.local';

const names: readonly (readonly [string, string | undefined])[] = [
  ['prices', PRICES],
  ['prices.shop', PRICES],
  ['prices.shop.svc', PRICES],
  [PRICES, PRICES],
  [`${PRICES}.`, PRICES],
  ['PRICES.Shop', PRICES],
  ['prices.bank', 'prices.bank.svc.cluster.local'],
  ['api.shop.example', 'api.shop.example'],
  ['', undefined],
  ['.', undefined],
  ['..', undefined],
  ['prices..shop', undefined],
  ['-prices', undefined],
  ['pri ces', undefined],
  ['pri|ces', undefined],
  ['a'.repeat(64), undefined],
  [`${'a'.repeat(63)}.`.repeat(5), undefined],
];
for (const [name, host] of names) {
  test(`serviceHostOf() takes ${JSON.stringify(name).slice(0, 40)} for ${host}`, () => {
    assert.equal(hostOf(name), host);
  });
}
