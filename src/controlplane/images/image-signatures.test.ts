// Signed images in registries, one of them real: which are taken, which are not and why, and what happens when one cannot be asked.
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { test } from 'node:test';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { readWorkload } from '@weft/model/admission/workload';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import {
  dockerRegistryMissing,
  pushImage,
  startDockerRegistry,
  startFakeRegistry,
  type TestRegistry,
} from '../../../test/support/oci-registry.ts';
import {
  createSigner,
  signAsBundle,
  signUnderTag,
  type TestSigner,
} from '../../../test/support/sign-images.ts';
import { createAddressGuard } from '../fetch/guard-address.ts';
import { ImageSignatures, type SignatureOutcome } from './image-signatures.ts';
import { Registry, type RegistryOptions } from './registry.ts';

const REPOSITORY = 'shop/web';
const NOW = Date.now();

interface Rig {
  readonly looked: SignatureOutcome[];
  /** Texts of what was found. */
  readonly find: (image: string, kind?: 'Pod' | 'Deployment') => Promise<readonly string[]>;
}

function rigOf(
  registry: TestRegistry,
  rule: object,
  more: { readonly images?: object; readonly registry?: Partial<RegistryOptions> } = {},
): Rig {
  const looked: SignatureOutcome[] = [];
  const parsed = parseWorkloadPolicy(
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'WorkloadPolicy',
      metadata: { name: 'signed', namespace: 'shop' },
      spec: {
        images: { signatures: [{ images: [`${registry.name}/*`], ...rule }], ...more.images },
      },
    },
    'WorkloadPolicy',
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const signatures = new ImageSignatures({
    registry: new Registry({
      isAllowed: createAddressGuard(['127.0.0.0/8']),
      credentialsOf: () => undefined,
      plainRegistries: [registry.name],
      ...more.registry,
    }),
    nowMs: () => NOW,
    onLooked: (outcome) => looked.push(outcome),
  });
  return {
    looked,
    async find(image, kind = 'Pod') {
      const metadata = { name: 'web', namespace: 'shop' };
      const spec = { containers: [{ name: 'web', image }] };
      const workload = readWorkload(
        kind === 'Pod'
          ? { apiVersion: 'v1', kind, metadata, spec }
          : { apiVersion: 'apps/v1', kind, metadata, spec: { template: { spec } } },
      );
      assert.ok(workload);
      const context = { nowMs: NOW, rootNamespace: 'weft-system' };
      const found = await signatures.look(parsed.value, { workload }, context);
      return found.map(({ text }) => text.slice(text.lastIndexOf('" ') + 2));
    },
  };
}

const at = (registry: TestRegistry, digest: string): string =>
  `${registry.name}/${REPOSITORY}@${digest}`;

const missing = await dockerRegistryMissing();
const REGISTRIES: readonly (readonly [string, () => Promise<TestRegistry>, string | undefined])[] =
  [
    ['in the process', startFakeRegistry, undefined],
    ['of Debian', startDockerRegistry, missing],
  ];

for (const [which, start, why] of REGISTRIES) {
  test(`registry ${which}: cosign's signatures by a key are taken, under a tag and as a bundle`, {
    skip: why ?? false,
  }, async () => {
    await using registry = await start();
    const signer = createSigner();
    const tagged = await pushImage(registry, REPOSITORY, 'one');
    await signUnderTag(registry, signer, { repository: REPOSITORY, digest: tagged });
    const bundled = await pushImage(registry, REPOSITORY, 'two');
    await signAsBundle(registry, signer, { repository: REPOSITORY, digest: bundled });
    const unsigned = await pushImage(registry, REPOSITORY, 'three');
    const { find, looked } = rigOf(registry, {
      keys: [createSigner().publicPem, signer.publicPem],
    });
    assert.deepEqual(await find(at(registry, tagged)), []);
    assert.deepEqual(await find(at(registry, bundled)), []);
    assert.deepEqual(await find(at(registry, unsigned)), [
      'is not signed as it has to be: there is no signature',
    ]);
    assert.deepEqual(looked, ['signed', 'signed', 'unsigned']);
    const other = rigOf(registry, { keys: [createSigner().publicPem] });
    for (const digest of [tagged, bundled]) {
      const [text = ''] = await other.find(at(registry, digest));
      assert.match(text, /one signature is not by the key \(signature verification failed\)/);
    }
  });
}

type Push = (registry: TestRegistry, signer: TestSigner, digest: string) => Promise<void>;
const FORGED: readonly (readonly [string, Push, RegExp])[] = [
  [
    'a signature of another image, moved to this one',
    (registry, signer, digest) =>
      signUnderTag(registry, signer, {
        repository: REPOSITORY,
        digest,
        says: `sha256:${'0'.repeat(64)}`,
      }),
    /is of another image/,
  ],
  [
    'a bundle of another image, moved to this one',
    (registry, signer, digest) =>
      signAsBundle(registry, signer, {
        repository: REPOSITORY,
        digest,
        says: `sha256:${'0'.repeat(64)}`,
      }),
    /is of another image/,
  ],
  [
    'an attestation of something else by the same key',
    (registry, signer, digest) =>
      signAsBundle(registry, signer, {
        repository: REPOSITORY,
        digest,
        predicateType: 'https://cyclonedx.org/bom',
      }),
    /is of another image/,
  ],
  [
    'bytes that are no signature',
    (registry, signer, digest) =>
      signUnderTag(registry, signer, {
        repository: REPOSITORY,
        digest,
        signature: Buffer.from('x'),
      }),
    /is not by the key/,
  ],
];
for (const [what, push, expected] of FORGED) {
  test(`${what} signs nothing`, async () => {
    await using registry = await startFakeRegistry();
    const signer = createSigner();
    const digest = await pushImage(registry, REPOSITORY, 'x');
    await push(registry, signer, digest);
    const [text = ''] = await rigOf(registry, { keys: [signer.publicPem] }).find(
      at(registry, digest),
    );
    assert.match(text, expected);
  });
}

test('an image without a digest is refused, and no registry is asked', async () => {
  await using registry = await startFakeRegistry();
  const { find } = rigOf(registry, { keys: [createSigner().publicPem] });
  const [text = ''] = await find(`${registry.name}/${REPOSITORY}:v1`);
  assert.match(text, /names no digest/);
  assert.deepEqual(registry.asked, []);
});

test('images of other registries are not asked for, and what is no name of an image is refused', async () => {
  await using registry = await startFakeRegistry();
  const { find } = rigOf(registry, { keys: [createSigner().publicPem] });
  assert.deepEqual(await find(`other.test/a@sha256:${'0'.repeat(64)}`), []);
  assert.match((await find('a b'))[0] ?? '', /names no digest/);
  assert.deepEqual(registry.asked, []);
});

test('a registry that cannot be asked refuses, unless the policy says otherwise', async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    response.writeHead(500).end('secret words');
    return true;
  };
  const image = at(registry, `sha256:${'0'.repeat(64)}`);
  const rule = { keys: [createSigner().publicPem] };
  const [text = ''] = await rigOf(registry, rule).find(image);
  assert.match(text, /^cannot be looked up \(127\.0\.0\.1:\d+ answers 500\)$/);
  const lenient = rigOf(registry, rule, { images: { whenUnavailable: 'allow' } });
  assert.deepEqual(await lenient.find(image), []);
  assert.deepEqual(lenient.looked, ['unavailable']);
  const guarded = rigOf(registry, rule, { registry: { isAllowed: createAddressGuard([]) } });
  assert.match((await guarded.find(image))[0] ?? '', /which is not public/);
});

test('bytes that are not those of their digest are not believed', async () => {
  await using registry = await startFakeRegistry();
  const signer = createSigner();
  const digest = await pushImage(registry, REPOSITORY, 'x');
  await signUnderTag(registry, signer, { repository: REPOSITORY, digest });
  for (const path of registry.content.keys()) {
    if (path.includes('/blobs/')) registry.content.set(path, Buffer.from('{}'));
  }
  const [text = ''] = await rigOf(registry, { keys: [signer.publicPem] }).find(
    at(registry, digest),
  );
  assert.match(text, /with other bytes/);
});

test('what was found is remembered: a registry is asked once for many Pods', async () => {
  await using registry = await startFakeRegistry();
  const signer = createSigner();
  const digest = await pushImage(registry, REPOSITORY, 'x');
  await signUnderTag(registry, signer, { repository: REPOSITORY, digest });
  const { find, looked } = rigOf(registry, { keys: [signer.publicPem] });
  await Promise.all(Array.from({ length: 20 }, () => find(at(registry, digest))));
  await find(at(registry, digest));
  assert.deepEqual(looked, ['signed']);
});

test('a token is asked for where a registry wants one, with the login where there is one', async () => {
  await using registry = await startFakeRegistry();
  const signer = createSigner();
  const digest = await pushImage(registry, REPOSITORY, 'x');
  await signUnderTag(registry, signer, { repository: REPOSITORY, digest });
  const logins: (string | undefined)[] = [];
  registry.intercept = (request, response) => {
    if (request.url?.startsWith('/token') === true) {
      logins.push(request.headers.authorization);
      assert.match(request.url, /scope=repository%3Ashop%2Fweb%3Apull/);
      response.end(JSON.stringify({ token: 'letmein' }));
      return true;
    }
    if (request.headers.authorization === 'Bearer letmein') return false;
    const realm = `Bearer realm="http://${registry.name}/token",service="test"`;
    response.writeHead(401, { 'www-authenticate': realm }).end();
    return true;
  };
  const rule = { keys: [signer.publicPem] };
  assert.deepEqual(await rigOf(registry, rule).find(at(registry, digest)), []);
  const known = rigOf(registry, rule, { registry: { credentialsOf: () => 'ann:secret' } });
  assert.deepEqual(await known.find(at(registry, digest)), []);
  assert.equal(logins[0], undefined);
  assert.equal(logins.at(-1), `Basic ${Buffer.from('ann:secret').toString('base64')}`);
});

const pki = createTestPki();

test('an identity by certificate is taken while it is good, and where a log is trusted when it was', async () => {
  await using registry = await startFakeRegistry();
  const digest = await pushImage(registry, REPOSITORY, 'x');
  const uri = 'https://ci.test/shop/release';
  const issued = pki.issue({ uris: [uri] });
  const signer: TestSigner = {
    privateKey: createPrivateKey(issued.keyPem),
    publicPem: '',
  };
  const [certificatePem = '', issuing = ''] = issued.chainPem.split(
    /(?<=-----END CERTIFICATE-----\n)/,
  );
  const roots = pki.bundlePem + issuing;
  const log = createSigner();
  await signUnderTag(registry, signer, { repository: REPOSITORY, digest, certificatePem, log });
  const rule = (subject: string, more: object = {}): object => ({
    certificates: { roots, identities: [{ subject }], ...more },
  });
  const image = at(registry, digest);
  const found = async (of: object): Promise<string> =>
    (await rigOf(registry, of).find(image)).join();
  assert.equal(await found(rule(uri)), '');
  assert.equal(await found(rule('https://ci.test/shop/*')), '');
  assert.match(
    await found(rule('https://ci.test/bank/*')),
    /is by https:\/\/ci\.test\/shop\/release/,
  );
  const asked = {
    certificates: { roots, identities: [{ subject: uri, issuer: 'x' }] },
  };
  assert.match(await found(asked), /one signature is by/);
  const others = {
    certificates: { roots: createTestPki().bundlePem, identities: [{ subject: uri }] },
  };
  assert.match(await found(others), /by nobody who is trusted/);
  assert.equal(await found(rule(uri, { transparencyLogs: [log.publicPem] })), '');
  const stranger = { transparencyLogs: [createSigner().publicPem] };
  assert.match(await found(rule(uri, stranger)), /inclusion promise could not be verified/);
});

test('where tags are resolved, a Deployment by tag waits for its Pods, and a Pod by tag is refused', async () => {
  await using registry = await startFakeRegistry();
  const image = `${registry.name}/${REPOSITORY}:1`;
  const keys = [createSigner().publicPem];
  const allow = [`${registry.name}/*`];
  const resolving = rigOf(registry, { keys }, { images: { allow, digests: 'resolve' } });
  assert.deepEqual(await resolving.find(image, 'Deployment'), []);
  assert.match((await resolving.find(image)).join(), /names no digest/);
  assert.match(
    (await rigOf(registry, { keys }).find(image, 'Deployment')).join(),
    /names no digest/,
  );
  const digest = await pushImage(registry, REPOSITORY, 'unsigned');
  const [unsigned] = await resolving.find(at(registry, digest), 'Deployment');
  assert.match(unsigned ?? '', /is not signed as it has to be/);
});
