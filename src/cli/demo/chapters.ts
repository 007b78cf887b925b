// The demo's statements: each does one thing to a running mesh and checks what is seen.
import { join } from 'node:path';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { askAdminJson } from '../admin-client.ts';
import { callPrices } from './apps/prices-client.ts';
import { askStock } from './apps/stock-client.ts';
import { callHttp } from './http-call.ts';
import { WORKLOADS, type WorkloadName } from './layout.ts';
import { describeFailures, startLoad } from './load.ts';
import type { DemoMesh } from './mesh.ts';
import { eventually, expect, type Story } from './story.ts';

const APP_START = { timeoutMs: 10_000, everyMs: 20, what: 'the application' };
const LOG_LINE = { timeoutMs: 3_000, everyMs: 10, what: 'the line in the access log' };

const listOf = (value: PlainObject, key: string): readonly PlainObject[] => {
  const list = value[key];
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

export async function enrolment(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('Enrolment: every workload gets a certificate for its own name');
  await story.holds('started the control plane beside a folder of manifests', async () => {
    const ready = await mesh.startControlPlane();
    return `it serves xDS at ${String(ready['xds'])} and enrolment at ${String(ready['enrolment'])}`;
  });
  for (const name of WORKLOADS) {
    await story.holds(`started ${name} with a sidecar and a single-use join token`, async () => {
      const startedAt = performance.now();
      const ready = await mesh.startWorkload(name);
      const tookMs = Math.round(performance.now() - startedAt);
      const id = `spiffe://cluster.local/ns/shop/sa/${name}`;
      expect(ready['spiffeId'] === id, `the sidecar is ${String(ready['spiffeId'])}`);
      return `enrolled and ready after ${tookMs} ms as ${id}`;
    });
  }
}

export async function allowed(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('Allowed calls: HTTP, gRPC and raw TCP, all over mutual TLS');
  await story.holds('prices calls web over HTTP', async () => {
    const answer = await eventually(async () => {
      const got = await callHttp(mesh.via('prices', 'web'), '/whoami');
      return got.status === 200 ? got : undefined;
    }, APP_START);
    const caller = 'URI=spiffe://cluster.local/ns/shop/sa/prices';
    expect(answer.body.includes(caller), answer.body);
    return `200, and web was told who calls: ${caller}`;
  });
  await story.holds('web asks prices (gRPC) and stock (TCP) to answer GET /item/tea', async () => {
    const answer = await eventually(async () => {
      const got = await callHttp(mesh.via('prices', 'web'), '/item/tea');
      return got.status === 200 ? got : undefined;
    }, APP_START);
    expect(
      answer.body.includes('"price":320') && answer.body.includes('"inStock":41'),
      answer.body,
    );
    return `200 ${answer.body}`;
  });
}

/** The access-log line of a refused request, which names the rule. */
const deciding = (line: PlainObject): string => {
  const policy = line['policy'];
  return typeof policy === 'string'
    ? `rule ${policy}`
    : `no rule allows it; the nearest is ${String(line['nearest'])}`;
};

export async function refused(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('Refused calls, and the rule that decided');
  await story.holds('prices calls GET /admin of web', async () => {
    const answer = await callHttp(mesh.via('prices', 'web'), '/admin');
    expect(answer.status === 403, `status ${answer.status}`);
    const line = await eventually(
      async () =>
        mesh
          .workload('web')
          .findLine(
            (entry) => entry['requestId'] === answer.requestId && entry['direction'] === 'inbound',
          ),
      LOG_LINE,
    );
    expect(line['policy'] === 'ns[shop]-policy[web-no-admin]-rule[0]', JSON.stringify(line));
    return `403; web's log says: ${deciding(line)}, request ${answer.requestId}`;
  });
  await story.holds('web tries to set a price over gRPC, which nobody may', async () => {
    const reason = await callPrices(mesh.via('web', 'prices'), 'Set', {
      item: 'tea',
      cents: 1,
    }).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    expect(reason?.includes('PERMISSION_DENIED') === true, reason ?? 'it was allowed');
    const line = await eventually(
      async () => mesh.workload('prices').findLine((entry) => entry['path'] === '/shop.Prices/Set'),
      LOG_LINE,
    );
    return `PERMISSION_DENIED; prices' log says: ${deciding(line)}`;
  });
  await story.holds('prices opens a TCP connection to stock, which is for web alone', async () => {
    const reason = await askStock(mesh.via('prices', 'stock'), 'tea').then(
      (count) => `it was told ${count}`,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    expect(!reason.startsWith('it was told'), reason);
    const line = await eventually(
      async () => mesh.workload('stock').findLine((entry) => entry['reasonCode'] === 'rbac-denied'),
      LOG_LINE,
    );
    return `closed; stock's log says: ${deciding(line)}`;
  });
}

export async function outsider(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('A client outside the mesh, without a certificate');
  await story.holds('under STRICT it calls web in plaintext', async () => {
    const reason = await callHttp(mesh.front('web'), '/healthz').then(
      ({ status }) => `it was answered with ${status}`,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    expect(!reason.startsWith('it was answered'), reason);
    await eventually(
      async () =>
        mesh.workload('web').findLine((entry) => entry['reasonCode'] === 'plaintext-refused'),
      LOG_LINE,
    );
    return `refused (${reason}); web's log says: plaintext-refused`;
  });
  await story.holds('the mode is changed to PERMISSIVE and it calls again', async () => {
    await mesh.editPolicies((text) => text.replace('mode: STRICT', 'mode: PERMISSIVE'));
    const answer = await eventually(
      async () => {
        const got = await callHttp(mesh.front('web'), '/healthz');
        return got.status === 200 ? got : undefined;
      },
      { timeoutMs: 5_000, everyMs: 10, what: 'an answer in plaintext' },
    );
    const other = await callHttp(mesh.front('web'), '/whoami');
    expect(other.status === 403, `GET /whoami was answered with ${other.status}`);
    return `GET /healthz: ${answer.status}, as a policy allows anybody; GET /whoami: ${other.status}, for a client without identity`;
  });
  await story.holds('the mode is changed back to STRICT', async () => {
    await mesh.editPolicies((text) => text.replace('mode: PERMISSIVE', 'mode: STRICT'));
    await eventually(
      async () =>
        callHttp(mesh.front('web'), '/healthz').then(
          () => undefined,
          () => true,
        ),
      { timeoutMs: 5_000, everyMs: 10, what: 'a refusal' },
    );
    return 'plaintext is refused again';
  });
}

const CLOSED_PATH = '/closed';
const POLICY = `---
apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata:
  name: close-a-path
  namespace: shop
spec:
  action: DENY
  rules:
    - to:
        - operation:
            paths: ["${CLOSED_PATH}"]
`;

export async function policyEdit(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('A policy is written while everything runs');
  await story.holds(
    `a DENY of ${CLOSED_PATH} for the whole namespace is saved to policies.yaml`,
    async () => {
      const before = await callHttp(mesh.via('prices', 'web'), CLOSED_PATH);
      expect(before.status === 200, `before it, the answer is ${before.status}`);
      const savedAt = performance.now();
      await mesh.editPolicies((text) => text + POLICY);
      const policy = await eventually(
        async () => {
          const policies = listOf(await mesh.ask('/v1/policies'), 'policies');
          const found = policies.find((entry) => entry['name'] === 'close-a-path');
          return found?.['isEnforced'] === true ? found : undefined;
        },
        { timeoutMs: 5_000, everyMs: 3, what: 'enforcement by every sidecar' },
      );
      const tookMs = Math.round(performance.now() - savedAt);
      const after = await callHttp(mesh.via('prices', 'web'), CLOSED_PATH);
      expect(after.status === 403, `it is answered with ${after.status}`);
      return `enforced by ${String(policy['enforced'])} sidecars ${tookMs} ms after it was saved; ${CLOSED_PATH} answers ${after.status}`;
    },
  );
  await story.holds('a policy with a mistake is saved beside it', async () => {
    await mesh.editPolicies((text) =>
      text.replace(`paths: ["${CLOSED_PATH}"]`, `pathz: ["${CLOSED_PATH}"]`),
    );
    const problem = await eventually(
      async () => {
        const problems = listOf(await mesh.ask('/v1/problems'), 'problems');
        return problems.find(
          (entry) => entry['severity'] === 'error' && JSON.stringify(entry).includes('pathz'),
        );
      },
      { timeoutMs: 5_000, everyMs: 10, what: 'the problem' },
    );
    const answer = await callHttp(mesh.via('prices', 'web'), CLOSED_PATH);
    expect(answer.status === 403, `${CLOSED_PATH} is answered with ${answer.status}`);
    return `${String(problem['text'])}; the last good version stays in force`;
  });
  await story.holds('the policy is taken out again', async () => {
    await mesh.editPolicies((text) =>
      text.slice(
        0,
        text.indexOf(
          '---\napiVersion: security.weft.dev/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: close-a-path',
        ),
      ),
    );
    await eventually(
      async () => {
        const { status } = await callHttp(mesh.via('prices', 'web'), CLOSED_PATH);
        return status === 200 ? status : undefined;
      },
      { timeoutMs: 5_000, everyMs: 5, what: 'an allowed call' },
    );
    return `${CLOSED_PATH} answers 200 again`;
  });
}

const LOAD_PATHS = ['/whoami', '/item/tea'];

async function certificatesOf(
  mesh: DemoMesh,
  name: WorkloadName,
): Promise<{ serial: string; roots: string }> {
  const answer = await askAdminJson(mesh.sidecarAdmin(name), '/certs');
  const certificate = isPlainObject(answer) ? answer['certificate'] : undefined;
  const serial = isPlainObject(certificate) ? certificate['serial'] : undefined;
  const roots = isPlainObject(answer) ? listOf(answer, 'roots') : [];
  return {
    serial: String(serial),
    roots: roots
      .map((root) => String(root['fingerprint256']))
      .sort()
      .join(','),
  };
}

export async function rotation(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('Root and certificates are replaced under load');
  await story.holds('the CA rotates to a new root while calls go on', async () => {
    const before = new Map(
      await Promise.all(
        WORKLOADS.map(async (name) => [name, await certificatesOf(mesh, name)] as const),
      ),
    );
    const load = startLoad(mesh.via('prices', 'web'), LOAD_PATHS);
    const startedAt = performance.now();
    let counted = 0;
    try {
      await askAdminJson(
        { socketPath: join(mesh.folders.state, 'admin.sock') },
        '/v1/ca/rotation',
        'POST',
      );
      await eventually(
        async () => {
          const { rotation: state } = await mesh.ask('/v1/ca');
          return isPlainObject(state) && state['phase'] === 'stable' ? true : undefined;
        },
        { timeoutMs: 30_000, everyMs: 50, what: 'the end of the rotation' },
      );
      for (const name of WORKLOADS) {
        await eventually(
          async () => {
            const now = await certificatesOf(mesh, name);
            const then = before.get(name);
            return now.serial !== then?.serial &&
              now.roots !== then?.roots &&
              !now.roots.includes(',')
              ? true
              : undefined;
          },
          { timeoutMs: 5_000, everyMs: 50, what: `a certificate of ${name} under the new root` },
        );
      }
    } finally {
      const { calls, failures } = await load.stop();
      expect(failures.size === 0, `of ${calls} calls failed: ${describeFailures(failures)}`);
      expect(calls > 20, `only ${calls} calls were made`);
      counted = calls;
    }
    const tookMs = Math.round(performance.now() - startedAt);
    const root = await mesh.ask('/v1/ca');
    const [first] = listOf(root, 'roots');
    return `distributed, signed and retired in ${tookMs} ms; all three have new certificates under root ${String(first?.['fingerprint']).slice(0, 17)}…; ${counted} calls, 0 failed`;
  });
}

export async function controlPlaneAway(mesh: DemoMesh, story: Story): Promise<void> {
  story.chapter('The control plane is stopped and started while traffic goes on');
  await story.holds('the control plane is stopped, and later started again', async () => {
    const rootBefore = JSON.stringify(listOf(await mesh.ask('/v1/ca'), 'roots'));
    const load = startLoad(mesh.via('prices', 'web'), LOAD_PATHS);
    let counted = 0;
    try {
      expect((await mesh.stopControlPlane()) === 0, 'it did not end cleanly');
      for (let call = 0; call < 50; call++) {
        const { status } = await callHttp(mesh.via('prices', 'web'), '/whoami');
        expect(status === 200, `status ${status} while it was away`);
      }
      const denied = await callHttp(mesh.via('prices', 'web'), '/admin');
      expect(denied.status === 403, `policy was not enforced while it was away: ${denied.status}`);
      await mesh.startControlPlane();
      await eventually(
        async () =>
          (await mesh.ask('/v1/status'))['proxies'] === WORKLOADS.length ? true : undefined,
        { timeoutMs: 20_000, everyMs: 50, what: 'the return of every sidecar' },
      );
      expect(
        JSON.stringify(listOf(await mesh.ask('/v1/ca'), 'roots')) === rootBefore,
        'the root is another one',
      );
    } finally {
      const { calls, failures } = await load.stop();
      expect(failures.size === 0, `of ${calls} calls failed: ${describeFailures(failures)}`);
      counted = calls;
    }
    return `${counted} calls, 0 failed, policy enforced all the while; all sidecars are back, the root is the same`;
  });
}
