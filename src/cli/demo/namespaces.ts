// Network namespaces joined by a bridge, one a workload: the least that is like Pods on a node. Needs root, ip and iptables.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface NamespacePlan {
  /** Prefix of every name that is made, short enough for an interface's 15 characters: `wf1a2b`. */
  readonly prefix: string;
  /** The bridge's own address, with its length: `10.77.0.1/24`. The control plane lives beside the bridge. */
  readonly gateway: string;
  /** Address without length by host name. */
  readonly addressByHost: ReadonlyMap<string, string>;
}

export interface Namespaces extends AsyncDisposable {
  /** What to put before a command so that it runs in a host's namespace; `switch` is the bridge's. */
  enter(host: string): readonly string[];
}

const ip = async (...args: readonly string[]): Promise<void> => {
  await run('ip', [...args]);
};

/** Why namespaces cannot be made here, or `undefined` when they can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'it needs root';
  for (const [command, args] of [
    ['ip', ['-V']],
    ['iptables-restore', ['--version']],
  ] as const) {
    try {
      await run(command, [...args]);
    } catch {
      return `it needs the commands ip and iptables (Debian: apt-get install iproute2 iptables)`;
    }
  }
  const probe = `wfprobe${process.pid}`;
  try {
    await ip('netns', 'add', probe);
    await ip('netns', 'delete', probe);
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made here (${firstLine(error)})`;
  }
}

const firstLine = (error: unknown): string => String(error).split('\n', 1)[0] ?? '';

/** Makes the bridge and every host; disposing deletes all of it, also after a failure half way. */
export async function createNamespaces(plan: NamespacePlan): Promise<Namespaces> {
  const nameOf = (host: string): string => `${plan.prefix}-${host}`;
  const made: string[] = [];
  const add = async (host: string): Promise<string> => {
    const name = nameOf(host);
    await ip('netns', 'add', name);
    made.push(name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  };
  const remove = async (): Promise<void> => {
    for (const name of made.splice(0).reverse()) await ip('netns', 'delete', name);
  };
  try {
    const hub = await add('switch');
    await ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
    await ip('-n', hub, 'addr', 'add', plan.gateway, 'dev', 'br0');
    await ip('-n', hub, 'link', 'set', 'br0', 'up');
    const [gateway = '', length = ''] = plan.gateway.split('/');
    let index = 0;
    for (const [host, address] of plan.addressByHost) {
      const name = await add(host);
      const outer = `p${index++}`;
      await ip(
        '-n',
        hub,
        'link',
        'add',
        outer,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        name,
      );
      await ip('-n', hub, 'link', 'set', outer, 'master', 'br0', 'up');
      await ip('-n', name, 'addr', 'add', `${address}/${length}`, 'dev', 'eth0');
      await ip('-n', name, 'link', 'set', 'eth0', 'up');
      await ip('-n', name, 'route', 'add', 'default', 'via', gateway);
    }
  } catch (error) {
    await remove();
    throw new Error(`Cannot make network namespaces: ${firstLine(error)}`, { cause: error });
  }
  return {
    enter: (host) => ['ip', 'netns', 'exec', nameOf(host)],
    [Symbol.asyncDispose]: remove,
  };
}
