// Issues the keys and certificates of a cluster for tests: its CA, the API server's, the administrator's and those that sign service account tokens.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  bitString,
  type DerPart,
  derTrue,
  namedBits,
  octetString,
  oid,
  sequence,
  set,
  tagged,
  time,
  unsignedInteger,
  utf8String,
} from '@weft/ca/der';
import { toPem } from '@weft/ca/sign';
import { parseIp } from '@weft/model/ip';

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const SERIAL_BYTES = 16;
const DIGITAL_SIGNATURE = 0;
const KEY_CERT_SIGN = 5;

interface Subject {
  readonly commonName: string;
  /** Kubernetes reads groups from it. */
  readonly organization?: string;
}

interface Spec {
  readonly subject: Subject;
  readonly publicKey: KeyObject;
  readonly issuer: Subject;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

export interface ClusterKeys {
  readonly caFile: string;
  readonly caKeyFile: string;
  readonly serverFile: string;
  readonly serverKeyFile: string;
  /** Signs service account tokens; the other half verifies them. */
  readonly accountKeyFile: string;
  readonly accountPublicFile: string;
  readonly caPem: string;
  readonly admin: { readonly cert: string; readonly key: string };
}

const CA: Subject = { commonName: 'kubelab-ca' };

const nameOf = ({ commonName, organization }: Subject): Buffer => {
  const part = (id: string, text: string): Buffer => set(sequence(oid(id), utf8String(text)));
  return sequence(
    ...(organization === undefined ? [] : [part('2.5.4.10', organization)]),
    part('2.5.4.3', commonName),
  );
};

const extension = (id: string, value: DerPart): Buffer =>
  sequence(oid(id), derTrue, octetString(value));
const purpose = (id: string): Buffer => extension('2.5.29.37', sequence(oid(id)));
const usage = (bit: number): Buffer => extension('2.5.29.15', namedBits(bit));
const pemOf = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' });

function certificate(spec: Spec): string {
  const now = Date.now();
  const body = sequence(
    tagged(0xa0, unsignedInteger(Buffer.of(2))),
    unsignedInteger(randomBytes(SERIAL_BYTES)),
    ECDSA_WITH_SHA256,
    nameOf(spec.issuer),
    sequence(time(now - 5 * MINUTE_MS), time(now + YEAR_MS)),
    nameOf(spec.subject),
    spec.publicKey.export({ format: 'der', type: 'spki' }),
    tagged(0xa3, sequence(...spec.extensions)),
  );
  const signature = bitString(sign('sha256', body, spec.issuerKey));
  return toPem(sequence(body, ECDSA_WITH_SHA256, signature));
}

function addressBytes(address: string): Buffer {
  const ip = parseIp(address);
  if (ip === undefined) throw new RangeError(`Cannot name ${address} in a certificate: no address`);
  const words = ip.family === 4 ? [ip.word] : ip.words;
  const bytes = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word >>> 0, index * 4);
  return bytes;
}

const subjectAltName = (names: readonly string[]): Buffer =>
  extension(
    '2.5.29.17',
    sequence(
      ...names.map((name) =>
        parseIp(name) === undefined
          ? tagged(0x82, Buffer.from(name, 'latin1'))
          : tagged(0x87, addressBytes(name)),
      ),
    ),
  );

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** The key in a file, made when there is none. */
function keyIn(file: string): KeyObject {
  if (existsSync(file)) return createPrivateKey(readFileSync(file));
  const key = newKey();
  writeFileSync(file, pemOf(key), { mode: 0o600 });
  return key;
}

function caCertificate(file: string, issuerKey: KeyObject): string {
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const publicKey = createPublicKey(issuerKey);
  const constraints = extension('2.5.29.19', sequence(derTrue));
  const extensions = [constraints, usage(KEY_CERT_SIGN)];
  const pem = certificate({ subject: CA, publicKey, issuer: CA, issuerKey, extensions });
  writeFileSync(file, pem);
  return pem;
}

/**
 * Keys of a cluster in `folder`: the CA and the service accounts' key stay what they are, the rest is new each time.
 * @param serverNames DNS names and addresses of the API server
 */
export function writeClusterKeys(folder: string, serverNames: readonly string[]): ClusterKeys {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = (name: string): string => join(folder, name);
  const issuerKey = keyIn(file('ca.key'));
  const caPem = caCertificate(file('ca.crt'), issuerKey);
  const accounts = createPublicKey(keyIn(file('accounts.key')));
  writeFileSync(file('accounts.pub'), accounts.export({ format: 'pem', type: 'spki' }));
  const issue = (subject: Subject, key: KeyObject, more: readonly Buffer[]): string =>
    certificate({
      subject,
      publicKey: createPublicKey(key),
      issuer: CA,
      issuerKey,
      extensions: [usage(DIGITAL_SIGNATURE), ...more],
    });
  const serverKey = newKey();
  const server = issue({ commonName: 'kube-apiserver' }, serverKey, [
    purpose(SERVER_AUTH),
    subjectAltName(serverNames),
  ]);
  writeFileSync(file('server.key'), pemOf(serverKey), { mode: 0o600 });
  writeFileSync(file('server.crt'), server);
  const adminKey = newKey();
  const administrator = { commonName: 'kubelab-admin', organization: 'system:masters' };
  return {
    caFile: file('ca.crt'),
    caKeyFile: file('ca.key'),
    serverFile: file('server.crt'),
    serverKeyFile: file('server.key'),
    accountKeyFile: file('accounts.key'),
    accountPublicFile: file('accounts.pub'),
    caPem,
    admin: { cert: issue(administrator, adminKey, [purpose(CLIENT_AUTH)]), key: pemOf(adminKey) },
  };
}

/** A kubeconfig with one cluster and one user, credentials inside. */
export function kubeconfigText(
  server: string,
  caPem: string,
  user: { readonly cert: string; readonly key: string },
): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return `${JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'kubelab', cluster: { server, 'certificate-authority-data': base64(caPem) } },
    ],
    users: [
      {
        name: 'admin',
        user: {
          'client-certificate-data': base64(user.cert),
          'client-key-data': base64(user.key),
        },
      },
    ],
    contexts: [
      { name: 'kubelab', context: { cluster: 'kubelab', user: 'admin', namespace: 'default' } },
    ],
    'current-context': 'kubelab',
  })}\n`;
}
