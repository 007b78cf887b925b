// The HTTP filters that are Weft's own, those of TrafficPolicies and of logins: before each its twins, which are Envoy's and say the same to it.
import type { PlainMessage } from '../registry.ts';
import type { HttpFilter } from '../resources/listener.ts';
import { BASIC_AUTH, encodeBasicAuth, loginTwinsOf } from './basic-auth.ts';
import { bytesOf, type Fields, message, report, requiredText, text } from './fields.ts';
import { twinsOf as trafficTwinsOf, type TwinFilter } from './traffic-twins.ts';
import { encodeLimits, encodeTraffic, readLimits, readTraffic } from './traffic.ts';
import { encodeExtension, type Extension } from './well-known.ts';

export type TrafficFilter = Extract<
  HttpFilter,
  { readonly kind: 'requestLimits' | 'traffic' | 'basicAuth' }
>;

const LIMITS: Extension<HttpFilter> = {
  name: 'weft.filters.http.request_limits',
  typeName: 'weft.traffic.v1.RequestLimits',
  read: (fields) => {
    const limits = readLimits(fields);
    return limits && { kind: 'requestLimits', limits };
  },
};

const TRAFFIC: Extension<HttpFilter> = {
  name: 'weft.filters.http.traffic',
  typeName: 'weft.traffic.v1.TrafficControl',
  read: (fields) => {
    const traffic = readTraffic(fields);
    return traffic && { kind: 'traffic', traffic };
  },
};

export const TRAFFIC_FILTERS: readonly Extension<HttpFilter>[] = [LIMITS, TRAFFIC, BASIC_AUTH];
const OWN_NAMES: ReadonlySet<string> = new Set(TRAFFIC_FILTERS.map(({ name }) => name));

const twinsOf = (filter: TrafficFilter): readonly TwinFilter[] =>
  filter.kind === 'basicAuth' ? loginTwinsOf(filter.login) : trafficTwinsOf(filter);

/** In the order in which they stand: twins, then their own. */
export function encodeTrafficFilter(filter: TrafficFilter): readonly PlainMessage[] {
  const twins = twinsOf(filter).map(({ name, typeName, config }) =>
    encodeExtension({ name, typeName }, config),
  );
  // An Envoy, which has the twins, passes over what it does not know.
  return [...twins, { ...encodeOwn(filter), is_optional: true }];
}

function encodeOwn(filter: TrafficFilter): PlainMessage {
  switch (filter.kind) {
    case 'requestLimits':
      return encodeExtension(LIMITS, encodeLimits(filter.limits));
    case 'traffic':
      return encodeExtension(TRAFFIC, encodeTraffic(filter.traffic));
    case 'basicAuth':
      return encodeExtension(BASIC_AUTH, encodeBasicAuth(filter.login));
    default:
      return filter satisfies never;
  }
}

const TWIN = 'weft.twin/';
const utf8 = new TextDecoder();

/** What an Envoy is told, as it stands on the wire. */
interface Twin {
  readonly name: string;
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

const isNamed = (fields: Fields, test: (name: string) => boolean): boolean => {
  const value = fields.byName.get('name')?.[0]?.value;
  return value !== undefined && typeof value !== 'number' && test(utf8.decode(value));
};

/** Whether this filter is for Envoys alone; it is read then, and goes to the twins. */
export function takeTwin(fields: Fields, twins: Twin[]): boolean {
  if (!isNamed(fields, (name) => name.startsWith(TWIN))) return false;
  const name = requiredText(fields, 'name');
  message(fields, 'typed_config', (any) => {
    twins.push({ name, typeUrl: text(any, 'type_url'), value: bytesOf(any, 'value') });
    return true;
  });
  return true;
}

/** Weft's own are marked as such, and nothing else is: what restricts may not be passed over. */
export const isOwnFilter = (fields: Fields): boolean =>
  isNamed(fields, (name) => OWN_NAMES.has(name));

/** Envoys must be told the same: twins that nothing stands for here would be rules that this sidecar does not enforce. */
export function checkTwins(
  fields: Fields,
  filters: readonly HttpFilter[],
  twins: readonly Twin[],
): void {
  const expected = filters.flatMap((filter) =>
    isTraffic(filter) ? twinsOf(filter).map(wireOf) : [],
  );
  const isSame =
    expected.length === twins.length &&
    expected.every((twin, at) => {
      const other = twins[at];
      return (
        other !== undefined &&
        other.name === twin.name &&
        other.typeUrl === twin.typeUrl &&
        Buffer.compare(other.value, twin.value) === 0
      );
    });
  if (!isSame) {
    const said = 'has filters for Envoys that are not those of its own filters';
    report(fields, 'http_filters', 'unknown-value', said);
  }
}

export const isTraffic = (filter: HttpFilter): filter is TrafficFilter =>
  filter.kind === 'requestLimits' || filter.kind === 'traffic' || filter.kind === 'basicAuth';

function wireOf({ name, typeName, config }: ReturnType<typeof twinsOf>[number]): Twin {
  const { typed_config: any } = encodeExtension({ name, typeName }, config);
  const { type_url: typeUrl, value } = any as {
    readonly type_url: string;
    readonly value: Uint8Array;
  };
  return { name, typeUrl, value };
}
