// Enrols in a process that may write no file and start no other: what it makes can be nowhere but in memory. For tests.
import { writeFileSync } from 'node:fs';
import { parseSpiffeId, parseTrustDomain } from '@weft/model/identity';
import { systemClock } from '@weft/model/clock';
import { enrol } from '@weft/dataplane/enrol/enrolment-client';

const [, , address = '', bundlePem = '', id = ''] = process.argv;
const trustDomain = parseTrustDomain('mesh.test');
const controlPlane = parseSpiffeId(id);
if (trustDomain === undefined || controlPlane === undefined) {
  throw new TypeError('Cannot enrol: no control plane is named');
}
let refused = '';
try {
  writeFileSync(new URL('./key.pem', import.meta.url), 'x');
} catch (error) {
  refused = error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
const outcome = await enrol({
  address,
  bundlePem,
  controlPlane,
  evidence: { kind: 'join-token', token: 'token' },
  expected: { trustDomain, namespace: 'shop', spiffeId: undefined },
  clock: systemClock,
});
process.stdout.write(
  JSON.stringify({
    refused,
    enrolled: outcome.ok,
    hasKey: outcome.ok && outcome.svid.keyPem !== '',
  }),
);
