// A transparent sidecar is ready only where netfilter really turns its Pod's traffic to it, and says which rule it misses.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createJoinToken } from '@weft/ca/join-tokens';
import { DaemonProcess } from '../../src/cli/demo/daemon-process.ts';
import {
  createNamespaces,
  type Namespaces,
  whyNoNamespaces,
} from '../../src/cli/demo/namespaces.ts';
import { modeYaml, podYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { weftCommand } from '../support/weft-main.ts';

const run = promisify(execFile);
const UID = 1_337;
const GATEWAY = '10.79.0.1';
const POD = '10.79.0.2';
const POD6 = 'fd79::2';
const CONTROL_PLANE = { xds: `${GATEWAY}:15012`, enrolment: `${GATEWAY}:15013` };
const flags = (values: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
const skip = (await whyNoNamespaces()) ?? false;

let root: string;
let namespaces: Namespaces;
let controlPlane: DaemonProcess;

async function enter(host: string, ...command: readonly string[]) {
  const [ip = '', ...args] = [...namespaces.enter(host), ...command];
  const { stdout } = await run(ip, args);
  return stdout;
}
const weft = (host: string, ...args: readonly string[]) => enter(host, ...weftCommand(args));
const iptables = (...args: readonly string[]) => enter('pod', 'iptables', '-t', 'nat', ...args);

interface Probed {
  readonly status: number;
  readonly body: string;
}

/** What a kubelet on the node gets. Status 0: no answer. */
async function probe(port: number, path = '/healthz/ready'): Promise<Probed> {
  const script = `try{const r=await fetch('http://${POD}:${port}${path}',{signal:AbortSignal.timeout(2000)});
    console.log(JSON.stringify({status:r.status,body:await r.text()}))}catch(e){console.log('{"status":0,"body":""}')}`;
  return JSON.parse(await enter('switch', process.execPath, '--input-type=module', '-e', script));
}

const probed = (port: number, fits: (answer: Probed) => boolean, what: string, path?: string) =>
  eventually(
    async () => {
      const answer = await probe(port, path);
      return fits(answer) ? answer : undefined;
    },
    { what, withinMs: 15_000 },
  );

async function startSidecar(...more: readonly string[]): Promise<DaemonProcess> {
  const { token } = await createJoinToken({
    stateDir: join(root, 'state'),
    namespace: 'shop',
    serviceAccount: 'web',
  });
  const tokenFile = join(root, 'token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  await chown(tokenFile, UID, UID);
  return new DaemonProcess({
    weft: weftCommand,
    name: 'sidecar',
    enter: namespaces.enter('pod'),
    args: [
      'sidecar',
      '--transparent',
      ...more,
      ...flags({
        'run-as': String(UID),
        pod: 'web-0',
        namespace: 'shop',
        'pod-ip': POD,
        bundle: join(root, 'state/bundle.pem'),
        'token-file': tokenFile,
        probes: '[::]:15021',
        metrics: '[::]:15020',
        'interception-period': '200ms',
        ...CONTROL_PLANE,
      }),
    ],
    logFile: join(root, 'sidecar.log'),
  });
}

before(async () => {
  if (skip !== false) return;
  root = await mkdtemp(join(tmpdir(), 'weft-interception-'));
  await chmod(root, 0o755);
  namespaces = await createNamespaces({
    prefix: `wi${process.pid.toString(36)}`,
    gateway: `${GATEWAY}/24`,
    addressByHost: new Map([['pod', POD]]),
  });
  await enter('pod', 'ip', 'addr', 'add', `${POD6}/64`, 'dev', 'eth0', 'nodad');
  await enter('pod', 'ip', '-6', 'route', 'add', 'default', 'dev', 'eth0');
  await writeFile(join(root, 'pod.yaml'), podYaml({ name: 'web-0', ip: POD, ports: [8080] }));
  await writeFile(join(root, 'mode.yaml'), modeYaml('STRICT'));
  controlPlane = new DaemonProcess({
    weft: weftCommand,
    name: 'control plane',
    enter: namespaces.enter('switch'),
    args: [
      'control-plane',
      ...flags({
        manifests: root,
        'state-dir': join(root, 'state'),
        admin: '127.0.0.1:15014',
        'ip-address': GATEWAY,
        ...CONTROL_PLANE,
      }),
    ],
    logFile: join(root, 'control-plane.log'),
  });
  await controlPlane.ready();
});

after(async () => {
  if (skip !== false) return;
  await controlPlane.stop();
  await namespaces[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

test('without the rules a sidecar is never ready, and says which it misses; setting them cures it', {
  skip,
}, async () => {
  await using sidecar = await startSidecar();
  const { body } = await probed(
    15_021,
    ({ body: text }) => !text.includes('yet') && !text.includes('certificate') && text !== '',
    'the reason alone',
  );
  assert.match(body, /^NOT READY: outbound interception not proven: 192\.0\.2\.1:15999 did not/);
  assert.match(body, /chain WEFT_OUTPUT in place\?/);
  assert.match(body, /inbound interception not proven/);
  assert.match(body, /\[2001:db8::1\]:15999 .*ip6tables/, 'its IPv6 as well');
  assert.equal((await probe(15_022)).status, 0, 'nobody listens there');
  await assert.rejects(weft('pod', 'capture', 'check'), {
    code: 1,
    stdout: /-A OUTPUT -p tcp -j WEFT_OUTPUT/,
  });

  await weft('pod', 'capture', 'apply');
  await sidecar.ready();
  await weft('pod', 'capture', 'check');
  assert.deepEqual(await probe(15_021), { status: 200, body: 'LIVE\n' });
  assert.deepEqual(await probe(15_022), { status: 200, body: 'LIVE\n' }, 'it came by the rules');
  assert.equal((await probe(15_022, '/config_dump')).status, 404, 'and offers no more than probes');
  const metrics = await probe(15_020, '/metrics');
  assert.match(metrics.body, /weft_interception_ok\{direction="inbound"\} 1/);
});

test('a rule that goes turns a running sidecar unready, and its return ready again', {
  skip,
}, async () => {
  await weft('pod', 'capture', 'apply');
  await using sidecar = await startSidecar();
  await sidecar.ready();
  const losses = [
    ['OUTPUT', '-p', 'tcp', '-j', 'WEFT_OUTPUT'],
    ['WEFT_INBOUND', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15006'],
  ] as const;
  for (const [chain, ...rule] of losses) {
    await iptables('-D', chain, ...rule);
    const lost = await probed(15_021, ({ status }) => status === 503, `unready without ${chain}`);
    assert.match(lost.body, /interception not proven: 192\.0\.2\.1/);
    await iptables('-A', chain, ...rule);
    await probed(15_021, ({ status }) => status === 200, 'ready again');
  }
  await iptables('-D', 'PREROUTING', '-p', 'tcp', '-j', 'WEFT_INBOUND');
  assert.equal((await probe(15_022)).status, 0, "that from outside is the kubelet's to prove");
});

test('capture apply is idempotent, leaves what others set, and remove takes all of it away', {
  skip,
}, async () => {
  await weft('pod', 'capture', 'remove');
  await iptables('-A', 'OUTPUT', '-p', 'tcp', '--dport', '4242', '-j', 'RETURN');
  const before = await iptables('-S');
  await weft('pod', 'capture', 'apply', '--exclude-inbound-port', '9100');
  const first = await iptables('-S');
  assert.match(first, /--dport 9100 -j RETURN/);
  await weft('pod', 'capture', 'apply', '--exclude-inbound-port', '9100');
  assert.equal(await iptables('-S'), first);
  await weft('pod', 'capture', 'apply');
  assert.doesNotMatch(await iptables('-S'), /9100/, 'what is not excluded any more');
  await weft('pod', 'capture', 'remove');
  assert.equal(await iptables('-S'), before);
});

test('--no-interception-check is ready without proof', { skip }, async () => {
  await weft('pod', 'capture', 'remove');
  await using sidecar = await startSidecar('--no-interception-check');
  await sidecar.ready();
  assert.equal((await probe(15_021)).status, 200);
  assert.doesNotMatch(await readFile(join(root, 'sidecar.log'), 'utf8'), /unexpected failure/);
});

test('without NET_ADMIN capture says that it is missing, without iptables that', {
  skip,
}, async () => {
  const drop = [
    'setpriv',
    '--bounding-set=-all',
    '--inh-caps=-all',
    '--reuid=1337',
    '--clear-groups',
  ];
  const asNobody = (...args: readonly string[]) => enter('pod', ...drop, ...weftCommand(args));
  for (const verb of ['apply', 'check']) {
    await assert.rejects(asNobody('capture', verb), /it needs the capability NET_ADMIN/);
  }
  const noTools = ['env', 'PATH=/nowhere', ...weftCommand(['capture', 'apply'])];
  await assert.rejects(enter('pod', ...noTools), /iptables: it is not installed; use the image/);
});

test("under STRICT the kubelet's own probe of the application is refused, and the sidecar's passes", {
  skip,
}, async () => {
  await weft('pod', 'capture', 'apply');
  const probes = { 'web/readiness': { http: { port: 8080, path: '/ok' }, timeoutSeconds: 2 } };
  await using sidecar = await startSidecar('--app-probes', JSON.stringify(probes));
  await sidecar.ready();
  const serve = `require('node:http').createServer((q,r)=>r.writeHead(q.url==='/ok'?200:500).end('app')).listen(8080,'${POD}')`;
  const [, ...enterPod] = namespaces.enter('pod');
  const app = spawn('ip', [...enterPod, process.execPath, '-e', serve], { stdio: 'ignore' });
  try {
    const answer = await probed(
      15_021,
      ({ status }) => status === 200,
      'the probe of the application',
      '/app-probe/web/readiness',
    );
    assert.equal(answer.body, 'ok\n');
    assert.equal((await probe(8080, '/ok')).status, 0, 'nobody without a certificate gets there');
  } finally {
    app.kill('SIGKILL');
    await once(app, 'close');
  }
  const gone = await probe(15_021, '/app-probe/web/readiness');
  assert.equal(gone.status, 503);
  assert.match(gone.body, /ECONNREFUSED/);
});
