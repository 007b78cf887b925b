// An Envoy behind Weft's agent lives as long as it should and no longer: rotations, restarts, drains, and a control plane that is away.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type EnvoyLab, envoyLab, openEnvoyLab } from '../support/envoy-lab.ts';
import type { EnvoyPod } from '../support/envoy-pod.ts';
import { modeYaml, policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { listOf } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const { skip } = envoyLab;
const TTL = '10s';
let lab: EnvoyLab;
let web: EnvoyPod;
let cart: EnvoyPod;

before(async () => {
  if (skip !== false) return;
  lab = await openEnvoyLab({
    pods: [
      { name: 'web', proxy: 'envoy' },
      { name: 'cart', proxy: 'envoy' },
    ],
    manifests: { 'mode.yaml': modeYaml('STRICT') },
    controlPlaneArgs: ['--svid-ttl', TTL],
  });
  [web, cart] = [lab.pod('web'), lab.pod('cart')];
});

after(async () => {
  if (skip === false) await lab[Symbol.asyncDispose]();
});

const get = (to: EnvoyPod, path = '/') =>
  ({ kind: 'http1', host: to.vip, port: 80, path }) as const;

/** Those of a Pod's agent. */
const linesOf = (pod: EnvoyPod, msg: string): readonly PlainObject[] =>
  pod.log.split('\n').flatMap((line) => {
    if (!line.includes(`"msg":"${msg}"`)) return [];
    const value: unknown = JSON.parse(line);
    return isPlainObject(value) ? [value] : [];
  });

const agentOf = async (pod: EnvoyPod): Promise<PlainObject> => {
  const { body } = await pod.get(15_000, '/agent');
  const value: unknown = JSON.parse(body);
  assert.ok(isPlainObject(value));
  return value;
};

const pidOf = async (pod: EnvoyPod): Promise<number | undefined> => {
  const { envoy } = await agentOf(pod);
  const pid = isPlainObject(envoy) ? envoy['pid'] : undefined;
  return typeof pid === 'number' ? pid : undefined;
};

/** Requests over new and kept connections, HTTP/1.1 and HTTP/2, while something happens. */
async function underLoad(run: () => Promise<void>): Promise<void> {
  const target = { host: cart.vip };
  const loads = [
    web.call({ kind: 'load', ...target, port: 80, http2: false }),
    web.call({ kind: 'load', ...target, port: 81, http2: true }),
  ];
  try {
    await run();
  } finally {
    await web.call({ kind: 'stop' });
  }
  for (const { status, body } of await Promise.all(loads)) {
    assert.equal(body, '[]', 'no request failed');
    assert.ok(status > 20, `${status} requests`);
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

test('certificates are renewed twice while requests run, and none of them fails', {
  skip,
}, async () => {
  await underLoad(async () => {
    const serials = (): number =>
      new Set(linesOf(cart, 'certificate in use').map(({ serial }) => serial)).size;
    const before = serials();
    await eventually(() => serials() >= before + 2, { what: 'renewals', withinMs: 20_000 });
  });
  // Another may be logged before Envoy has it.
  await eventually(
    async () => {
      const serial = String(linesOf(cart, 'certificate in use').at(-1)?.['serial']);
      const { body } = await cart.get(15_000, '/certs');
      return body.replaceAll(':', '').toLowerCase().includes(serial);
    },
    { what: 'the newest certificate at Envoy' },
  );
  await lab.checkNothingRefused();
  shown('envoy', 'leaf-rotation');
});

test('a new root takes over while requests run, and none of them fails', { skip }, async () => {
  const before = listOf(await lab.ask('/v1/ca'), 'roots');
  await underLoad(async () => {
    await lab.weft('ca', 'rotate', '--state-dir', lab.state);
    await eventually(
      async () => {
        const { rotation } = await lab.ask('/v1/ca');
        return isPlainObject(rotation) && rotation['phase'] === 'stable';
      },
      { what: 'the end of the rotation', withinMs: 60_000, everyMs: 200 },
    );
  });
  const roots = await lab.ask('/v1/ca');
  assert.equal(listOf(roots, 'roots').length, 1, 'the old root is gone');
  assert.notDeepEqual(listOf(roots, 'roots'), before);
  await lab.checkNothingRefused();
  shown('envoy', 'root-rotation');
});

test('while the control plane is away requests go on, and what changes is followed when it is back', {
  skip,
}, async () => {
  await underLoad(async () => {
    await lab.stopControlPlane();
    for (let count = 0; count < 20; count++) assert.equal((await web.call(get(cart))).status, 200);
    await lab.startControlPlane(['--svid-ttl', TTL]);
    await lab.write(
      'p.yaml',
      policyYaml({
        name: 'closed',
        action: 'DENY',
        app: 'cart',
        rules: '[{to: [{operation: {paths: ["/closed"]}}]}]',
      }),
    );
    await lab.enforced('closed');
  });
  assert.equal((await web.call(get(cart, '/closed'))).status, 403);
  await lab.checkNothingRefused();
  shown('envoy', 'without-control-plane');
});

test('an Envoy that is killed is started again, and its Pod is unready meanwhile', {
  skip,
}, async () => {
  const pid = await pidOf(cart);
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  await eventually(async () => (await agentOf(cart))['readiness'], {
    what: 'an agent that answers',
  });
  const again = await eventually(
    async () => {
      const now = await pidOf(cart);
      return now !== pid && (await cart.get(15_021, '/healthz/ready')).status === 200 && now;
    },
    { what: 'another Envoy', withinMs: 15_000 },
  );
  assert.ok(isAlive(again));
  assert.equal((await web.call(get(cart))).status, 200);
  assert.equal(linesOf(cart, 'envoy has ended; starting it again').length, 1);
  const { body } = await cart.get(15_020, '/metrics');
  assert.match(body, /^weft_envoy_restarts_total 1$/m);
  assert.match(body, /^envoy_server_live\{?/m);
});

test('what asks for readiness through the redirect is answered, and Envoy can be looked at but not told', {
  skip,
}, async () => {
  assert.equal((await cart.get(15_022, '/healthz/ready', cart.ip)).status, 200);
  assert.equal((await cart.get(15_021, '/healthz/ready', cart.ip)).status, 200);
  assert.equal((await cart.get(15_000, '/listeners')).status, 200);
  assert.equal((await cart.get(15_000, '/quitquitquit', '127.0.0.1', 'POST')).status, 404);
  assert.equal((await cart.get(15_000, '/runtime_modify?x=y', '127.0.0.1', 'POST')).status, 404);
  assert.equal((await cart.get(15_000, '/config_dump', '127.0.0.1', 'POST')).status, 405);
  assert.equal((await cart.get(15_000, '/config_dump', cart.ip)).status, 0, 'nor from outside');
  const dump = (await cart.get(15_000, '/config_dump')).body;
  assert.equal(/BEGIN (?:EC )?PRIVATE KEY/.test(dump), false);
});

test('on SIGTERM what is in flight ends first, and nothing is left', { skip }, async () => {
  const pid = await pidOf(cart);
  assert.ok(pid !== undefined && cart.sidecar !== undefined);
  const slow = web.call(get(cart, '/slow?ms=4000'));
  await eventually(
    async () => {
      const active = await cart.stats('^http\\.inbound_8080\\.downstream_rq_active$');
      return [...active.values()].some((count) => count > 0);
    },
    { what: 'a request in flight' },
  );
  const stopped = cart.sidecar.stop('SIGTERM');
  assert.equal((await slow).status, 200);
  assert.equal(await stopped, 0);
  assert.equal(isAlive(pid), false);
  await cart.startSidecar();
  assert.equal((await web.call(get(cart))).status, 200);
  shown('envoy', 'drains');
});

test('an agent that is killed with -9 leaves no Envoy behind', { skip }, async () => {
  const pid = await pidOf(cart);
  const agent = cart.sidecar?.pid;
  assert.ok(pid !== undefined && agent !== undefined);
  process.kill(agent, 'SIGKILL');
  await eventually(() => !isAlive(pid), { what: 'the end of Envoy' });
});
