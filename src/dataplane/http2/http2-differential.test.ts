// A short run of the differential fuzz of HTTP/2, of the same inputs everywhere; `npm run fuzz` goes on for as long as it is told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzHttp2Connections } from '../../../test/fuzz/http2-connections.fuzz.ts';
import { fuzzHttp2Heads } from '../../../test/fuzz/http2-heads.fuzz.ts';

test('what our decoder and our rules take, nghttp2 reads as the same; what ends our connection ends its own (1,000 connections of fuzz)', async () => {
  const outcome = await fuzzHttp2Heads({ inputs: 1_000, seed: 1 });
  assert.ok(outcome.requests > 300 && outcome.ended > 300);
});

test('request smuggling: what reaches the application through the proxy is what nghttp2 reads (120 connections of fuzz)', async () => {
  const outcome = await fuzzHttp2Connections({ inputs: 120, seed: 1 });
  assert.ok(outcome.requests > 40, JSON.stringify(outcome));
});
