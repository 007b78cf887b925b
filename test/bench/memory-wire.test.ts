import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sumReceived } from './memory-wire.ts';

const TWO_PROCESSES = `ESTAB 0 0 127.0.0.1:5 127.0.0.1:15012 users:(("node",pid=12,fd=20))
	 cubic wscale:7,7 rto:204 bytes_sent:10 bytes_acked:10 bytes_received:1500 segs_out:3
ESTAB 0 0 127.0.0.1:6 127.0.0.1:15012 users:(("node",pid=123,fd=20))
	 cubic bytes_sent:10 bytes_received:9000
ESTAB 0 0 127.0.0.1:7 127.0.0.1:15012 users:(("node",pid=12,fd=21))
	 cubic bytes_received:25
`;

test('sumReceived() adds the connections of one process, and of no other whose number begins like it', () => {
  assert.equal(sumReceived(TWO_PROCESSES, 12), 1_525);
  assert.equal(sumReceived(TWO_PROCESSES, 123), 9_000);
  assert.equal(sumReceived(TWO_PROCESSES, 7), 0);
});
