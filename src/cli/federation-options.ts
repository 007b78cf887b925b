// The options of `weft control-plane` by which it lets others federate with it.
import type { BundleEndpointOptions } from '@weft/controlplane/federation/bundle-endpoint';
import { type Command, Option } from 'commander';
import { type HostPort, parseDuration, parseHostPort } from './parse.ts';

export interface FederationFlags {
  readonly bundleEndpoint?: HostPort;
  readonly bundleEndpointCertificate?: string;
  readonly bundleEndpointKey?: string;
  readonly bundleRefreshHint?: number;
}

const SECOND_MS = 1_000;

export function addFederationOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--bundle-endpoint <host:port>',
        'serves the SPIFFE bundle of the trust domain to others, who federate with it',
      ).argParser((text: string) => parseHostPort(text)),
    )
    .option(
      '--bundle-endpoint-certificate <file>',
      'of the bundle endpoint, for the profile https_web, read again when it changes; default: its own SVID (https_spiffe)',
    )
    .option('--bundle-endpoint-key <file>', 'the key of that certificate')
    .addOption(
      new Option(
        '--bundle-refresh-hint <duration>',
        'how often others are told to fetch the bundle; a new root signs after twice that',
      )
        .argParser(parseDuration)
        .default(300_000, '5m'),
    );
}

/** @throws Error that says what is missing. */
export function bundleEndpointOf(flags: FederationFlags): {
  readonly bundleEndpoint?: BundleEndpointOptions;
} {
  const { bundleEndpoint: listen, bundleRefreshHint: hintMs = 300_000 } = flags;
  const { bundleEndpointCertificate: certificateFile, bundleEndpointKey: keyFile } = flags;
  if ((certificateFile === undefined) !== (keyFile === undefined)) {
    throw new Error('--bundle-endpoint-certificate and --bundle-endpoint-key go together');
  }
  if (listen === undefined) {
    if (certificateFile === undefined) return {};
    throw new Error('--bundle-endpoint-certificate is of no use without --bundle-endpoint');
  }
  if (hintMs < SECOND_MS) throw new Error('--bundle-refresh-hint is at least 1s');
  const web = certificateFile !== undefined &&
    keyFile !== undefined && { certificateFile, keyFile };
  const refreshHintSeconds = Math.round(hintMs / SECOND_MS);
  return { bundleEndpoint: { listen, refreshHintSeconds, ...(web && { web }) } };
}
