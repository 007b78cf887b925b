// The node's network: a namespace with a bridge for Pods, a link to the test process, and one namespace for each Pod.
import { existsSync, readFileSync } from 'node:fs';
import { run } from './run-command.ts';

export interface PodNetwork extends AsyncDisposable {
  readonly address: string;
  /** What to put before a command so that it runs in this Pod's network. */
  readonly enter: readonly string[];
}

export interface NodeNetwork extends AsyncDisposable {
  /** The node's own: the bridge's, which every Pod has as its gateway. */
  readonly address: string;
  readonly podCidr: string;
  /** This process's address on its link to the node. */
  readonly testAddress: string;
  /** What to put before a command so that it runs in the node's network. */
  readonly enter: readonly string[];
  attachPod(): Promise<PodNetwork>;
}

const NAME_PREFIX = 'weftnode';
/** Of third octets: so many runs may live at once. */
const MAX_NODES = 250;
const FIRST_HOST = 10;
const LAST_HOST = 250;

/** Process ids come again; with its start a process is itself. */
function startOf(pid: string): string | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}

const enterNamespace = (name: string): readonly string[] => [
  'nsenter',
  `--net=/run/netns/${name}`,
  '--',
];
const ipBatch = (enter: readonly string[], lines: readonly string[]): Promise<string> =>
  run([...enter, 'ip', '-batch', '-'], `${lines.join('\n')}\n`);

/** Namespaces of runs whose process is gone; with a namespace go its links. */
async function removeLeftovers(): Promise<void> {
  const listed = await run(['ip', 'netns', 'list']);
  for (const line of listed.split('\n')) {
    const name = line.split(' ', 1)[0] ?? '';
    const [prefix, pid, start] = name.split('-');
    if (prefix !== NAME_PREFIX || pid === undefined || startOf(pid) === start) continue;
    await removeNamespace(name);
  }
}

/** Another run may be faster. */
async function removeNamespace(name: string): Promise<void> {
  const file = `/run/netns/${name}`;
  if (!existsSync(file)) return;
  try {
    await run(['ip', 'netns', 'delete', name]);
  } catch (error) {
    if (existsSync(file)) throw error;
  }
}

/** The link's name is the lock on an index: making one that is there fails. */
async function takeIndex(namespace: string): Promise<number> {
  let last: unknown;
  for (let index = 1; index <= MAX_NODES; index++) {
    const link = `weftn${index}`;
    if (existsSync(`/sys/class/net/${link}`)) continue;
    try {
      await ipBatch([], [`link add ${link} type veth peer name uplink netns ${namespace}`]);
      return index;
    } catch (error) {
      if (!existsSync(`/sys/class/net/${link}`)) throw error;
      last = error;
    }
  }
  throw new Error('Cannot make a node: every address is taken', { cause: last });
}

const SYSCTLS = [
  'net.ipv4.ip_forward=1',
  // Pods reach each other by way of the node, which is not to send them a shorter one.
  'net.ipv4.conf.all.send_redirects=0',
  'net.ipv4.conf.default.send_redirects=0',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  // Translation is the routing node's work alone: a bridge that translates keeps a Pod from reaching itself.
  'net.bridge.bridge-nf-call-iptables=0',
];

export async function createNodeNetwork(): Promise<NodeNetwork> {
  await removeLeftovers();
  const owner = `${NAME_PREFIX}-${process.pid}-${startOf(String(process.pid)) ?? ''}`;
  const name = `${owner}-${nextNode++}`;
  await run(['ip', 'netns', 'add', name]);
  try {
    const index = await takeIndex(name);
    return await build(name, index);
  } catch (error) {
    await removeNamespace(name);
    throw error;
  }
}
let nextNode = 0;

async function build(name: string, index: number): Promise<NodeNetwork> {
  const enter = enterNamespace(name);
  const testAddress = `10.243.${index}.1`;
  const uplink = `10.243.${index}.2`;
  const address = `10.244.${index}.1`;
  const podCidr = `10.244.${index}.0/24`;
  // Links inherit them. Without the bridge's own where its module is not loaded.
  await run([...enter, 'sysctl', '-eqw', ...SYSCTLS]);
  await ipBatch(enter, [
    'link set lo up',
    'link add cni0 type bridge',
    `addr add ${address}/24 dev cni0`,
    'link set cni0 up',
    `addr add ${uplink}/30 dev uplink`,
    'link set uplink up',
    `route add default via ${testAddress}`,
  ]);
  await ipBatch(
    [],
    [
      `addr add ${testAddress}/30 dev weftn${index}`,
      `link set weftn${index} up`,
      `route add ${podCidr} via ${uplink}`,
    ],
  );
  // Probes and webhook calls come from the node's own address, as they do from a kubelet and an API server.
  await run(
    [...enter, 'iptables-restore', '--noflush'],
    `*nat\n-A POSTROUTING -s 10.243.${index}.0/30 -d ${podCidr} -o cni0 -j SNAT --to-source ${address}\nCOMMIT\n`,
  );
  const addresses = new Addresses(`10.244.${index}`);
  const pods = new Set<string>();
  let nextPod = 0;
  return {
    address,
    podCidr,
    testAddress,
    enter,
    async attachPod() {
      const number = nextPod++;
      const pod = `${name}-${number}`;
      const podAddress = addresses.take();
      const outer = `p${number}`;
      await run(['ip', 'netns', 'add', pod]);
      pods.add(pod);
      await ipBatch(enter, [
        `link add ${outer} type veth peer name eth0 netns ${pod}`,
        `link set ${outer} master cni0 up`,
      ]);
      const enterPod = enterNamespace(pod);
      // No neighbour but the gateway: what goes from Pod to Pod is routed, and its translated replies come back the same way.
      await ipBatch(enterPod, [
        'link set lo up',
        `addr add ${podAddress}/32 dev eth0`,
        'link set eth0 up',
        `route add ${address} dev eth0 scope link`,
        `route add default via ${address}`,
      ]);
      await run([...enterPod, 'sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=0']);
      return {
        address: podAddress,
        enter: enterPod,
        async [Symbol.asyncDispose]() {
          if (!pods.delete(pod)) return;
          await ipBatch(enter, [`link delete ${outer}`]);
          await removeNamespace(pod);
          addresses.give(podAddress);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const pod of pods) await removeNamespace(pod);
      pods.clear();
      // At once: without this the kernel does so some time after the namespace.
      await run(['ip', 'link', 'delete', `weftn${index}`]);
      await removeNamespace(name);
    },
  };
}

/** Round robin: an address that has just been given back is the last to come again. */
class Addresses {
  readonly #prefix: string;
  readonly #taken = new Set<number>();
  #next = FIRST_HOST;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  take(): string {
    for (let tries = FIRST_HOST; tries <= LAST_HOST; tries++) {
      const host = this.#next;
      this.#next = host === LAST_HOST ? FIRST_HOST : host + 1;
      if (this.#taken.has(host)) continue;
      this.#taken.add(host);
      return `${this.#prefix}.${host}`;
    }
    throw new RangeError('Cannot attach a Pod: every address of the node is taken');
  }

  give(address: string): void {
    this.#taken.delete(Number(address.slice(address.lastIndexOf('.') + 1)));
  }
}
