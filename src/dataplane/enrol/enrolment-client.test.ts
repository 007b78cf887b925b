import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openScriptedControlPlane } from '../../../test/support/scripted-control-plane.ts';

const run = promisify(execFile);

test('the key is never on a disk: enrolment works in a process that may write no file at all', async () => {
  await using server = await openScriptedControlPlane();
  const script = fileURLToPath(
    new URL('../../../test/support/enrol-without-disk.ts', import.meta.url),
  );
  const { stdout, stderr } = await run(
    process.execPath,
    [
      '--permission',
      '--allow-fs-read=*',
      '--allow-net',
      script,
      server.address,
      server.authority.bundle().pem,
      server.controlPlane,
    ],
    { timeout: 15_000 },
  );
  assert.deepEqual(JSON.parse(stdout), {
    refused: 'ERR_ACCESS_DENIED',
    enrolled: true,
    hasKey: true,
  });
  assert.ok(!stderr.includes('PRIVATE KEY'));
});
