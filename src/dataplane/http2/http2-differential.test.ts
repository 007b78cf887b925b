import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzHttp2Connections } from '../../../test/fuzz/http2-connections.fuzz.ts';
import { fuzzHttp2Heads } from '../../../test/fuzz/http2-heads.fuzz.ts';

test('what our decoder and our rules take, nghttp2 reads as the same; what ends our connection ends its own (2 s of fuzz)', async () => {
  const outcome = await fuzzHttp2Heads({ seconds: 2, seed: 1 });
  assert.ok(outcome.requests > 0 && outcome.ended > 0);
});

test('request smuggling: what reaches the application through the proxy is what nghttp2 reads (2 s of fuzz)', async () => {
  const outcome = await fuzzHttp2Connections({ seconds: 2, seed: 1 });
  assert.ok(outcome.requests > 0);
});
