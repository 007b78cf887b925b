// Turns the names that programs use for a service into its one full name.
import { isDnsLabel, isDnsSubdomain } from '@weft/model/identity';

/**
 * `prices`, `prices.shop`, `prices.shop.svc` and `prices.shop.svc.cluster.local` are all the last; a trailing dot is
 * dropped. @returns a function that answers `undefined` for what cannot be a service's name.
 */
export function serviceHostOf(own: {
  readonly namespace: string;
  readonly domain: string;
}): (name: string) => string | undefined {
  return (name) => {
    const text = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
    if (!isDnsSubdomain(text)) return undefined;
    const suffix = `.svc.${own.domain}`;
    const short = text.endsWith(suffix)
      ? text.slice(0, -suffix.length)
      : text.endsWith('.svc')
        ? text.slice(0, -'.svc'.length)
        : text;
    const [service = '', namespace = own.namespace, ...more] = short.split('.');
    /** Another domain's name: looked up as it is. */
    if (more.length > 0) return text;
    return isDnsLabel(service) && isDnsLabel(namespace)
      ? `${service}.${namespace}${suffix}`
      : undefined;
  };
}

/** @returns whether a listener's name is one of hosts outside the mesh, or of what is known of none. */
export const outsideOf =
  (domain: string): ((name: string) => boolean) =>
  (name) =>
    name === 'virtualOutbound' || (name.startsWith('outbound|') && !name.endsWith(`.${domain}`));
