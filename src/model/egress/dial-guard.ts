// Where no name may lead by itself: this machine, its link, and the metadata services of clouds (SSRF).
import { compileCidr, type IpAddress, parseCidr, parseIp } from '../ip.ts';

/**
 * Loopback, this host, the link (where most clouds have their metadata), groups and broadcast; then the metadata and
 * platform addresses that stand elsewhere: Amazon's over IPv6, Alibaba's, Azure's, Oracle's.
 */
const FORBIDDEN: readonly string[] = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/128',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
  'fd00:ec2::/32',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
];
/** Carry an IPv4 address that they lead to: NAT64 in its last word, 6to4 in the 32 bits behind its prefix. */
const NAT64 = { address: '64:ff9b::', prefixLength: 96 };
const SIX_TO_FOUR = { address: '2002::', prefixLength: 16 };

type Test = (ip: IpAddress) => boolean;

const testsOf = (networks: readonly string[]): readonly Test[] =>
  networks.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr === undefined ? [] : [compileCidr(cidr)];
  });

const forbidden = testsOf(FORBIDDEN);
const isNat64 = compileCidr(NAT64);
const isSixToFour = compileCidr(SIX_TO_FOUR);

/** @param allowed networks that may be dialled all the same. @returns a test of an address as text. */
export function createDialGuard(allowed: readonly string[]): (address: string) => boolean {
  const listed = testsOf(allowed);
  return (address) => {
    const ip = parseIp(address);
    if (ip === undefined) return false;
    if (listed.some((test) => test(ip))) return true;
    const inner = innerOf(ip);
    return ![ip, inner].some((one) => forbidden.some((test) => test(one)));
  };
}

function innerOf(ip: IpAddress): IpAddress {
  if (ip.family === 4) return ip;
  const [first, second, , last] = ip.words;
  if (isNat64(ip)) return { family: 4, word: last };
  if (!isSixToFour(ip)) return ip;
  return { family: 4, word: (first % 65_536) * 65_536 + Math.floor(second / 65_536) };
}
