// Which addresses the control plane calls for somebody who may write a policy: public ones, and those an operator has listed.
import { compileCidr, parseCidr, parseIp, type IpAddress } from '@weft/model/ip';

/**
 * Not public, or a way to something that is not: IANA's special-purpose registries (RFC 6890) and the prefixes of
 * translation, which carry an IPv4 address. Among them are this machine, its neighbours, the cluster's own networks
 * and the metadata services of clouds (CVE-2026-41413).
 */
const SPECIAL: readonly string[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
];
/** Of IPv6 only what has been given out for the public Internet. */
const PUBLIC_IPV6 = '2000::/3';

type Test = (ip: IpAddress) => boolean;

const testOf = (network: string): readonly Test[] => {
  const cidr = parseCidr(network);
  return cidr === undefined ? [] : [compileCidr(cidr)];
};
const special = SPECIAL.flatMap(testOf);
const publicIpv6 = testOf(PUBLIC_IPV6);

/** @param allowed networks that the MeshConfig lists. @returns a test of an address as text. */
export function createAddressGuard(allowed: readonly string[]): (address: string) => boolean {
  const listed = allowed.flatMap(testOf);
  return (address) => {
    const parsed = parseIp(address);
    if (parsed === undefined) return false;
    const ip = unwrapped(parsed);
    return listed.some((test) => test(ip)) || isPublic(ip);
  };
}

/** The guard of who fetches for long, while the MeshConfig may come to list other networks. */
export class AddressGuard {
  #networks = '';
  #isAllowed = createAddressGuard([]);

  /** @returns whether it is another guard now. */
  follow(allowed: readonly string[]): boolean {
    const networks = allowed.join();
    if (networks === this.#networks) return false;
    this.#networks = networks;
    this.#isAllowed = createAddressGuard(allowed);
    return true;
  }

  /** By what holds at this moment. */
  readonly isAllowed = (address: string): boolean => this.#isAllowed(address);
}

const isPublic = (ip: IpAddress): boolean =>
  !special.some((test) => test(ip)) && (ip.family === 4 || publicIpv6.some((test) => test(ip)));

/** `::ffff:127.0.0.1` leads to `127.0.0.1`. */
function unwrapped(ip: IpAddress): IpAddress {
  if (ip.family === 4) return ip;
  const [first, second, third, word] = ip.words;
  return first === 0 && second === 0 && third === 0xffff ? { family: 4, word } : ip;
}
