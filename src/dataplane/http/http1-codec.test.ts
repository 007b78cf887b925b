// A short run of the differential fuzz: our HTTP/1 parser and Node's read the same messages.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzHttp1Requests } from '../../../test/fuzz/http1-codec.fuzz.ts';

test('request smuggling: what we take and what we send on is what Node reads (8,000 inputs of fuzz)', async () => {
  const outcome = await fuzzHttp1Requests({ inputs: 8_000, seed: 1 });
  assert.ok(outcome.compared > 600, JSON.stringify(outcome));
});
