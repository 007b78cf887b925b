// The trust bundle on the wire. No other kind of secret is written or read: private keys never travel.
import type { PlainMessage } from '../registry.ts';
import type { Secret } from '../resources/secret.ts';
import {
  bytesOf,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  text,
} from './fields.ts';

const PEM_CERTIFICATE = '-----BEGIN CERTIFICATE-----';

/** @throws {TypeError} for an empty bundle: a proxy that took it could verify nobody. */
export function encodeSecret({ name, trustedCaPem }: Secret): PlainMessage {
  if (!trustedCaPem.includes(PEM_CERTIFICATE))
    throw new TypeError(`Cannot encode secret ${name}: it holds no certificate`);
  return { name, validation_context: { trusted_ca: { inline_string: trustedCaPem } } };
}

export const readSecret: Read<Secret> = (fields) => {
  const name = requiredText(fields, 'name');
  oneOf(fields, 'type');
  const trustedCaPem = requiredMessage(fields, 'validation_context', (context) =>
    requiredMessage(context, 'trusted_ca', readPem),
  );
  return trustedCaPem === undefined ? undefined : { name, trustedCaPem };
};

/** PEM is ASCII, so bytes and text say the same. What it says is never repeated in a message. */
const readPem: Read<string> = (fields) => {
  const kind = oneOf(fields, 'specifier');
  if (kind === undefined) return undefined;
  const pem =
    kind === 'inline_bytes'
      ? Buffer.from(bytesOf(fields, kind)).toString('latin1')
      : text(fields, 'inline_string');
  if (pem.includes(PEM_CERTIFICATE)) return pem;
  return report(fields, kind, 'missing', 'holds no PEM certificate');
};
