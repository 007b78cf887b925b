// The section for calls that the application makes: a local port for each host outside, reached as an ExternalService says.
import { createSecureContext } from 'node:tls';
import type { OutboundPort } from '@weft/dataplane/options';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { parseHostPort } from '../parse.ts';
import { isSpec } from './section-policies.ts';
import {
  manifestOf,
  NO_PARTS,
  type Section,
  type SectionContext,
  type SectionObject,
  type SectionParts,
} from './section.ts';

const KEY = 'outbound';
/** Each is a socket. */
const MAX_ENTRIES = 64;
const LOOPBACK = '127.0.0.1';
const OWN_KEYS = ['listen', 'host', 'port', 'protocol'];
/** As in the kind's spec. */
const SPEC_KEYS = ['addresses', 'dns', 'allowedNetworks', 'tls'];

/** Each entry: `listen`, `host`, `port`, and how the host is reached. */
export const OUTBOUND: Section = {
  key: KEY,
  async read(value, context) {
    const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (entries.length > MAX_ENTRIES) {
      context.problem(KEY, 'too-many', `${entries.length} entries, at most ${MAX_ENTRIES}`);
      return NO_PARTS;
    }
    const parts: SectionParts[] = [];
    for (const [index, entry] of entries.entries()) {
      const at = Array.isArray(value) ? `${KEY}[${index}]` : KEY;
      if (isSpec(entry, at, context) && isPlainObject(entry)) {
        parts.push(await readEntry(entry, { at, index, context }));
      }
    }
    return {
      objects: parts.flatMap(({ objects }) => objects),
      outbound: parts.flatMap(({ outbound = [] }) => outbound),
    };
  },
};

interface Place {
  readonly at: string;
  readonly index: number;
  readonly context: SectionContext;
}

async function readEntry(entry: PlainObject, place: Place): Promise<SectionParts> {
  const { at, index, context } = place;
  const known = [...OWN_KEYS, ...SPEC_KEYS];
  for (const key of Object.keys(entry).filter((one) => !known.includes(one))) {
    const cure = `use one of ${known.join(', ')}`;
    context.problem(`${at}.${key}`, 'unknown-field', `unknown field "${key.slice(0, 64)}"`, cure);
  }
  const port = outboundPort(entry, place);
  const { protocol = 'HTTP', addresses, tls } = entry;
  const data: SectionObject[] = [];
  const spec = {
    ...Object.fromEntries(
      SPEC_KEYS.filter((key) => entry[key] !== undefined).map((key) => [key, entry[key]]),
    ),
    hosts: [entry['host']],
    ports: [{ number: entry['port'], protocol }],
    resolution: addresses === undefined ? 'DNS' : 'STATIC',
    ...(isPlainObject(tls) && { tls: await withFiles(tls, place, data) }),
  };
  const kind = { apiVersion: 'mesh.weft.dev/v1', kind: 'ExternalService', name: `${KEY}-${index}` };
  const manifest = manifestOf(kind, context.namespace, { spec });
  return { objects: [...data, { manifest, at }], ...(port && { outbound: [port] }) };
}

function outboundPort(entry: PlainObject, { at, context }: Place): OutboundPort | undefined {
  const { listen, host, port } = entry;
  const text = typeof listen === 'number' ? String(listen) : listen;
  if (typeof text !== 'string') {
    const cure = 'write where the application calls: listen: 127.0.0.1:9001';
    context.problem(`${at}.listen`, 'missing', 'is missing', cure);
    return undefined;
  }
  try {
    const address = parseHostPort(text, LOOPBACK);
    // What else is wrong with them the kind's reader says.
    if (typeof host !== 'string' || typeof port !== 'number') return undefined;
    return { listen: address, host: host.toLowerCase(), port };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    context.problem(`${at}.listen`, 'bad-address', why, 'write HOST:PORT');
    return undefined;
  }
}

/** Files are read here, watched, and hold together: what they say is given as Secrets and ConfigMaps are in a mesh. */
async function withFiles(
  tls: PlainObject,
  { at, index, context }: Place,
  data: SectionObject[],
): Promise<PlainObject> {
  const put = (kind: 'Secret' | 'ConfigMap', what: string, values: PlainObject): string => {
    const name = `${KEY}-${index}-${what}`;
    const body = kind === 'Secret' ? { stringData: values } : { data: values };
    data.push({
      manifest: manifestOf({ apiVersion: 'v1', kind, name }, context.namespace, body),
      at,
    });
    return name;
  };
  const { ca, clientCertificate } = tls;
  const made: Record<string, unknown> = { ...tls };
  if (isPlainObject(ca) && ca['file'] !== undefined) {
    const pem = await context.readFile(ca['file'], `${at}.tls.ca.file`);
    const name = put('ConfigMap', 'ca', { 'ca.crt': pem?.toString('utf8') ?? '' });
    made['ca'] = { configMap: { name } };
  }
  const files = isPlainObject(clientCertificate) ? clientCertificate['files'] : undefined;
  if (isPlainObject(files)) {
    const field = `${at}.tls.clientCertificate.files`;
    const cert = await context.readFile(files['certificate'], `${field}.certificate`);
    const key = await context.readFile(files['key'], `${field}.key`);
    if (cert !== undefined && key !== undefined) checkPair({ cert, key }, field, context);
    const values = {
      'tls.crt': cert?.toString('utf8') ?? '',
      'tls.key': key?.toString('utf8') ?? '',
    };
    made['clientCertificate'] = { secret: { name: put('Secret', 'client', values) } };
  }
  return made;
}

/** Half of a pair that is being written anew is no pair: the last good one is better. */
function checkPair(
  pair: { readonly cert: Buffer; readonly key: Buffer },
  field: string,
  context: SectionContext,
): void {
  try {
    createSecureContext(pair);
  } catch (error) {
    const reason =
      error instanceof Error && 'reason' in error ? String(error.reason) : 'unreadable';
    const cure = 'write PEM of a certificate with its chain, and of its own key';
    context.problem(field, 'bad-certificate', `cannot be used together: ${reason}`, cure);
  }
}
