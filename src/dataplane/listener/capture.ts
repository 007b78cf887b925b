// The netfilter rules that turn a workload's traffic to its sidecar, as text for iptables-restore.

export type Family = 4 | 6;

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
  /** Names are looked up without the mesh, over TCP as over UDP. */
  excludeOutboundPorts: [53],
  excludeOutboundCidrs: [],
};

/**
 * Where the sidecar calls to see that its traffic is turned: addresses for documentation (RFC 5737, RFC 3849) that nobody
 * has, so that a call which arrives has come by the rules.
 */
export const PROOF_ADDRESS: Readonly<Record<Family, string>> = { 4: '192.0.2.1', 6: '2001:db8::1' };
export const OUTBOUND_PROOF_PORT = 15_999;
export const INBOUND_PROOF_PORT = 15_998;
/** Nobody listens here: a kubelet's probe that is answered has come by the rules from outside. */
export const ARRIVAL_PROOF_PORT = 15_022;

export const INBOUND_CHAIN = 'WEFT_INBOUND';
export const OUTBOUND_CHAIN = 'WEFT_OUTPUT';
const LOOPBACK: Readonly<Record<Family, string>> = { 4: '127.0.0.0/8', 6: '::1/128' };

export interface CaptureRule {
  readonly chain: string;
  /** What it matches and where it leads, as iptables takes it. */
  readonly match: string;
}

/** The way into Weft's chains from netfilter's own. */
export const JUMPS: readonly CaptureRule[] = [
  { chain: 'PREROUTING', match: `-p tcp -j ${INBOUND_CHAIN}` },
  { chain: 'OUTPUT', match: `-p tcp -j ${OUTBOUND_CHAIN}` },
];

/** The rules of Weft's own chains, in their order. */
export function chainRules(options: CaptureOptions, family: Family): readonly CaptureRule[] {
  const { proxyUid, inboundPort, outboundPort, excludeInboundPorts, excludeOutboundPorts } =
    options;
  const cidrs = options.excludeOutboundCidrs.filter(
    (cidr) => cidr.includes(':') === (family === 6),
  );
  const proof = (port: number): string => `-d ${PROOF_ADDRESS[family]} -p tcp --dport ${port}`;
  const inbound = [
    ...excludeInboundPorts.map((port) => `-p tcp --dport ${port} -j RETURN`),
    `-p tcp -j REDIRECT --to-ports ${inboundPort}`,
  ];
  const outbound = [
    // The sidecar's own proofs come before its exemption.
    `${proof(OUTBOUND_PROOF_PORT)} -j REDIRECT --to-ports ${outboundPort}`,
    `${proof(INBOUND_PROOF_PORT)} -j ${INBOUND_CHAIN}`,
    `-m owner --uid-owner ${proxyUid} -j RETURN`,
    `-d ${LOOPBACK[family]} -j RETURN`,
    ...excludeOutboundPorts.map((port) => `-p tcp --dport ${port} -j RETURN`),
    ...cidrs.map((cidr) => `-d ${cidr} -j RETURN`),
    `-p tcp -j REDIRECT --to-ports ${outboundPort}`,
  ];
  return [
    ...inbound.map((match) => ({ chain: INBOUND_CHAIN, match })),
    ...outbound.map((match) => ({ chain: OUTBOUND_CHAIN, match })),
  ];
}

export const ruleText = ({ chain, match }: CaptureRule): string => `-A ${chain} ${match}`;

/**
 * Text for `iptables-restore --noflush` (family 4) or `ip6tables-restore --noflush` (family 6). Weft's chains are emptied
 * and filled in one step, so applying it again leaves the same rules and at no moment none.
 * @param jumps those that are not there yet; default: all.
 */
export function captureRules(
  options: CaptureOptions,
  family: Family,
  jumps: readonly CaptureRule[] = JUMPS,
): string {
  const lines = [
    '*nat',
    ...[INBOUND_CHAIN, OUTBOUND_CHAIN].map((chain) => `:${chain} - [0:0]`),
    ...jumps.map(ruleText),
    ...chainRules(options, family).map(ruleText),
    'COMMIT',
  ];
  return `${lines.join('\n')}\n`;
}

/** Arguments of iptables or ip6tables that do something with one rule: look for it (`-C`) or take it away (`-D`). */
export const ruleArguments = (verb: '-C' | '-D', rule: CaptureRule): readonly string[] => [
  '-t',
  'nat',
  verb,
  rule.chain,
  ...rule.match.split(' '),
];

/** Commands (arguments of iptables or ip6tables) that take the rules away; each may fail where it has nothing to take. */
export function removeRules(): readonly (readonly string[])[] {
  return [
    ...JUMPS.map((jump) => ruleArguments('-D', jump)),
    ...[OUTBOUND_CHAIN, INBOUND_CHAIN].flatMap((chain) => [['-t', 'nat', '-F', chain]]),
    ...[OUTBOUND_CHAIN, INBOUND_CHAIN].flatMap((chain) => [['-t', 'nat', '-X', chain]]),
  ];
}
