// A CA in a process of its own, which begins a rotation and waits to be killed: for tests.
import { parseTrustDomain } from '@weft/model/identity';
import { openAuthority } from '../authority.ts';
import { createJoinToken } from '../join-tokens.ts';
import { openFileStore } from '../store/file.ts';

const [, , stateDir] = process.argv;
const trustDomain = parseTrustDomain('mesh.test');
if (stateDir === undefined || trustDomain === undefined) {
  throw new TypeError('Cannot begin: no state directory is given');
}
const store = await openFileStore({ stateDir });
const authority = await openAuthority({ store, trustDomain });
await authority.startRotation();
const { token } = await createJoinToken({ stateDir, namespace: 'shop', serviceAccount: 'web' });
process.stdout.write(JSON.stringify({ version: authority.bundle().version, token }));
setInterval(() => {}, 60_000);
