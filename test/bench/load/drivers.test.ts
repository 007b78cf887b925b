import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DriverKind, LoadDriver } from './driver.ts';
import { Drivers } from './drivers.ts';

class FakeDriver implements LoadDriver {
  isDisposed = false;

  run(): Promise<never> {
    return Promise.reject(new Error('nobody asks it'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.isDisposed = true;
    return Promise.resolve();
  }
}

test('Drivers gives the first that can be had, starts it once, says what it is, and ends it', async () => {
  const driver = new FakeDriver();
  let starts = 0;
  const kinds: readonly DriverKind[] = [
    { name: 'h2load', start: () => Promise.resolve({ ok: false, reason: 'not installed' }) },
    {
      name: 'generator',
      start: () => {
        starts++;
        return Promise.resolve({ ok: true, driver, about: 'ours' });
      },
    },
  ];
  {
    await using drivers = new Drivers(kinds);
    for (let times = 0; times < 2; times++) {
      const found = await drivers.first(['h2load', 'generator']);
      assert.ok(found.ok);
      assert.equal(found.name, 'generator');
      assert.equal(found.driver, driver);
    }
    assert.equal(starts, 1);
    assert.deepEqual(drivers.abouts, ['generator: ours']);
  }
  assert.ok(driver.isDisposed);
});

test('Drivers says every reason when none can be had', async () => {
  const kinds: readonly DriverKind[] = [
    { name: 'h2load', start: () => Promise.resolve({ ok: false, reason: 'not installed' }) },
  ];
  await using drivers = new Drivers(kinds);
  const found = await drivers.first(['h2load', 'grpc']);
  assert.ok(!found.ok);
  assert.deepEqual(found.reasons, ['h2load: not installed', 'grpc: there is no such driver yet']);
});
