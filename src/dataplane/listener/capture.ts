// The netfilter rules that turn a workload's traffic to its sidecar, as text for iptables-restore.

export interface CaptureOptions {
  /** Traffic of this user is the sidecar's own and is left alone: the loop guard. */
  readonly proxyUid: number;
  readonly outboundPort: number;
  readonly inboundPort: number;
  /** Ports that answer the kubelet and Prometheus without the mesh. */
  readonly excludeInboundPorts: readonly number[];
  readonly excludeOutboundPorts: readonly number[];
  /** Destinations that are reached directly; of the rule text's own address family. */
  readonly excludeOutboundCidrs: readonly string[];
}

export const DEFAULT_CAPTURE: CaptureOptions = {
  proxyUid: 1337,
  outboundPort: 15_001,
  inboundPort: 15_006,
  excludeInboundPorts: [15_020, 15_021],
  excludeOutboundPorts: [],
  excludeOutboundCidrs: [],
};

const CHAINS = ['WEFT_INBOUND', 'WEFT_OUTPUT'] as const;
const LOOPBACK = { 4: '127.0.0.1/32', 6: '::1/128' } as const;

/**
 * Rules for `iptables-restore --noflush` (family 4) or `ip6tables-restore --noflush` (family 6).
 * Applying them twice leaves the same rules: the chains are flushed first and `removeRules` comes before.
 */
export function captureRules(options: CaptureOptions, family: 4 | 6): string {
  const cidrs = options.excludeOutboundCidrs.filter(
    (cidr) => cidr.includes(':') === (family === 6),
  );
  const lines = [
    '*nat',
    ...CHAINS.map((chain) => `:${chain} - [0:0]`),
    '-A PREROUTING -p tcp -j WEFT_INBOUND',
    '-A OUTPUT -p tcp -j WEFT_OUTPUT',
    ...options.excludeInboundPorts.map(
      (port) => `-A WEFT_INBOUND -p tcp --dport ${port} -j RETURN`,
    ),
    `-A WEFT_INBOUND -p tcp -j REDIRECT --to-ports ${options.inboundPort}`,
    `-A WEFT_OUTPUT -m owner --uid-owner ${options.proxyUid} -j RETURN`,
    `-A WEFT_OUTPUT -d ${LOOPBACK[family]} -j RETURN`,
    ...options.excludeOutboundPorts.map(
      (port) => `-A WEFT_OUTPUT -p tcp --dport ${port} -j RETURN`,
    ),
    ...cidrs.map((cidr) => `-A WEFT_OUTPUT -d ${cidr} -j RETURN`),
    `-A WEFT_OUTPUT -p tcp -j REDIRECT --to-ports ${options.outboundPort}`,
    'COMMIT',
  ];
  return `${lines.join('\n')}\n`;
}

/** Commands (arguments of iptables or ip6tables) that take the rules away; each may fail where it has nothing to take. */
export function removeRules(): readonly (readonly string[])[] {
  return [
    ['-t', 'nat', '-D', 'PREROUTING', '-p', 'tcp', '-j', 'WEFT_INBOUND'],
    ['-t', 'nat', '-D', 'OUTPUT', '-p', 'tcp', '-j', 'WEFT_OUTPUT'],
    ...CHAINS.flatMap((chain) => [
      ['-t', 'nat', '-F', chain],
      ['-t', 'nat', '-X', chain],
    ]),
  ];
}
