// Clients outside the mesh call by TLS as they do any other server: what they are shown, who of them is let in, and what is refused and counted.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/lab-wait.ts';
import { startStaticRig } from '../support/static-sidecar-rig.ts';
import { assertRefused, call, fileOf, headersOf, NAME } from '../support/tls-calls.ts';
import { curl, type Leaf, missingTools, OutsideCa } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;
test('a client is served by TLS 1.2 and 1.3, told to keep to HTTPS, and its word in reserved headers is dropped', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using rig = await startStaticRig({
    tls: {
      certificates: [fileOf(leaf)],
      hsts: { maxAgeSeconds: 31_536_000, includeSubDomains: true, preload: true },
    },
  });
  for (const args of [['--tls-max', '1.2'], ['--tlsv1.3']]) {
    const forged = [
      '-H',
      'x-forwarded-client-cert: URI=spiffe://cluster.local/ns/a/sa/b',
      '-H',
      'x-forwarded-proto: http',
    ];
    const answer = await call(rig, ca, { args: [...args, ...forged] });
    assert.equal(answer.status, 200);
    const hsts = 'strict-transport-security: max-age=31536000; includeSubDomains; preload';
    assert.ok(answer.headers.includes(hsts), answer.headers);
    assert.equal(headersOf(answer)['x-forwarded-client-cert'], undefined);
    assert.equal(headersOf(answer)['x-forwarded-proto'], 'https');
  }
  await assertRefused(rig, await call(rig, ca, { args: ['--tls-max', '1.1'] }), 'handshake-failed');
  await assertRefused(
    rig,
    await call(rig, ca, { args: ['--tls-max', '1.2', '--ciphers', 'AES128-SHA'] }),
    'handshake-failed',
  );
  const plain = await curl([`http://127.0.0.1:${rig.port}/`]);
  await assertRefused(rig, plain, 'plaintext-refused');
  assert.match(
    await rig.metrics(),
    /weft_tls_certificate_expiration_timestamp_seconds\{.*\} \d{10}/,
  );
  const dump = await rig.configDump();
  assert.ok(dump.includes('BEGIN CERTIFICATE'));
  assert.ok(!dump.includes('PRIVATE KEY'), 'no key in a dump');
  assert.ok(!rig.log.join('').includes('PRIVATE KEY'));
});

test('plaintext is redirected to HTTPS with the path and query that came', { skip }, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using rig = await startStaticRig({
    tls: {
      certificates: [fileOf(leaf)],
      plaintext: { mode: 'REDIRECT', status: 308, port: 443 },
    },
  });
  const answer = await curl(['-H', `Host: ${NAME}`, `http://127.0.0.1:${rig.port}/a/b?c=d`]);
  assert.equal(answer.status, 308);
  assert.match(answer.headers, /location: https:\/\/www\.example\.com(:443)?\/a\/b\?c=d/i);
  assert.ok(!answer.headers.toLowerCase().includes('strict-transport-security'));
});

test('of several certificates each name gets its own, by wildcard too, and names that are not served are refused', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const one = ca.issue({ subject: '/CN=one', altNames: `DNS:${NAME}` });
  const other = ca.issue({ subject: '/CN=other', altNames: 'DNS:*.example.org' });
  await using rig = await startStaticRig({
    tls: {
      certificates: [fileOf(one), fileOf(other)],
      serverNames: [NAME, '*.example.org', 'unnamed.example.net'],
    },
  });
  const subjectFor = async (name: string): Promise<string> => {
    const { headers, exitCode } = await call(rig, ca, {
      name,
      args: ['-v', '-k', '--stderr', '-'],
    });
    assert.equal(exitCode, 0, headers);
    return /subject: (.*)/.exec(headers)?.[1] ?? '';
  };
  assert.match(await subjectFor(NAME), /CN=one/);
  assert.match(await subjectFor('api.example.org'), /CN=other/);
  assert.match(await subjectFor('API.EXAMPLE.ORG'), /CN=other/);
  // Served, and no certificate has it: the first is shown, and its client sees that it is another's.
  assert.match(await subjectFor('unnamed.example.net'), /CN=one/);
  const wrong = await call(rig, ca, { name: 'unnamed.example.net' });
  assert.equal(wrong.exitCode, 60, 'curl does not take it');
  await assertRefused(
    rig,
    await call(rig, ca, { name: 'evil.example.net', args: ['-k'] }),
    'server-name-refused',
  );
  const nameless = await curl(['-k', `https://127.0.0.1:${rig.port}/`]);
  await assertRefused(rig, nameless, 'server-name-refused');
});

test('certificates are rotated under load without a failed request, and a broken pair changes nothing', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const first = ca.issue({ subject: '/CN=first', altNames: `DNS:${NAME}` });
  const second = ca.issue({ subject: '/CN=second', altNames: `DNS:${NAME}` });
  const files = { certificate: ca.path('live.pem'), key: ca.path('live.key'), serial: '' };
  const put = (certificate: Leaf, key = certificate): void => {
    copyFileSync(certificate.certificate, files.certificate);
    copyFileSync(key.key, files.key);
  };
  put(first);
  await using rig = await startStaticRig({ tls: { certificates: [fileOf(files)] } });
  const subject = (): Promise<string> =>
    new Promise((resolve) => {
      const script = `openssl s_client -connect 127.0.0.1:${rig.port} -servername ${NAME} </dev/null 2>/dev/null | openssl x509 -noout -subject`;
      execFile('sh', ['-c', script], { encoding: 'utf8' }, (_error, stdout) => resolve(stdout));
    });
  assert.match(await subject(), /first/);
  const ended = new AbortController();
  const failures: string[] = [];
  let served = 0;
  const load = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      const answer = await call(rig, ca);
      if (answer.status === 200) served++;
      else failures.push(`${answer.exitCode} ${answer.headers}`);
    }
  };
  const loads = [load(), load(), load()];
  put(second, first);
  await eventually(
    () =>
      rig.log.some((line) => line.includes('bad-certificate') || line.includes('cannot be used')),
    {
      what: 'a pair that does not fit to be refused',
    },
  );
  assert.match(await subject(), /first/, 'the last good pair stays');
  put(second);
  await eventually(async () => (await subject()).includes('second'), { what: 'the second pair' });
  const before = served;
  await eventually(() => served > before + 3, { what: 'requests after the rotation' });
  ended.abort();
  await Promise.all(loads);
  assert.deepEqual(failures, []);
});

test('another way to take TLS holds at once: connections go on, and no client is refused meanwhile', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  const tls = { certificates: [fileOf(leaf)] };
  await using rig = await startStaticRig({ tls });
  assert.equal((await call(rig, ca)).status, 200);
  const refusals = async (): Promise<readonly string[]> => {
    const lines = (await rig.metrics()).split('\n');
    return lines.filter((line) => /^weft_connections_(refused|cut)_total\{/.test(line));
  };
  const ended = new AbortController();
  const failures: string[] = [];
  const load = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      const { status, exitCode } = await call(rig, ca);
      if (status !== 200) failures.push(`${status} ${exitCode}`);
    }
  };
  const loads = [load(), load()];
  for (const minVersion of ['1.3', '1.2', '1.3']) {
    const before = rig.log.filter((line) => line.includes('is in force')).length;
    rig.write({ tls: { ...tls, minVersion } });
    await eventually(() => rig.log.filter((line) => line.includes('is in force')).length > before, {
      what: 'the file to be in force',
    });
  }
  const old = await call(rig, ca, { args: ['--tls-max', '1.2'] });
  assert.notEqual(old.exitCode, 0, 'TLS 1.2 is refused by now');
  ended.abort();
  await Promise.all(loads);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    (await refusals()).map((line) => line.split(' ')[0]),
    ['weft_connections_refused_total{direction="inbound",reason="handshake-failed"}'],
  );
});

test('an application that speaks HTTP/2 is spoken to in HTTP/2, and one that does not is not', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  const tls = { certificates: [fileOf(leaf)] };
  {
    await using rig = await startStaticRig({ protocol: 'http2', tls });
    const answer = await call(rig, ca, { args: ['--http2'] });
    assert.match(answer.headers, /^HTTP\/2 200/);
    assert.equal(headersOf(answer)['x-forwarded-proto'], 'https');
  }
  await using rig = await startStaticRig({ tls });
  assert.match((await call(rig, ca, { args: ['--http2'] })).headers, /^HTTP\/1\.1 200/);
});

test('a port that carries no HTTP gets the bytes without TLS, and rules judge its clients by their certificates', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  const [alice, bob] = ['alice', 'bob'].map((name) =>
    ca.issue({ subject: `/CN=${name}`, usage: 'clientAuth' }),
  );
  await using rig = await startStaticRig({
    protocol: 'tcp',
    tls: {
      certificates: [fileOf(leaf)],
      clientCertificates: { mode: 'REQUIRED', trust: { file: { ca: ca.certificate } } },
    },
    authorization: [
      {
        action: 'ALLOW',
        rules: [{ when: [{ key: 'connection.clientCertificate[subject]', values: ['CN=alice'] }] }],
      },
    ],
  });
  assert.ok(alice !== undefined && bob !== undefined);
  const answer = await call(rig, ca, { client: alice });
  assert.equal(answer.status, 200);
  assert.equal(headersOf(answer)['x-forwarded-proto'], undefined, 'nobody reads what it carries');
  await assertRefused(rig, await call(rig, ca, { client: bob }), 'rbac-denied');
});

test('a file of which a certificate is missing is refused with its line', { skip }, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue();
  const certificate = join(ca.directory, 'nowhere.pem');
  await assert.rejects(
    startStaticRig({ tls: { certificates: [{ file: { certificate, key: leaf.key } }] } }),
    /tls\.certificates\[0\]\.file\.certificate.*nowhere\.pem/s,
  );
});
