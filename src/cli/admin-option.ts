// The `--admin` option of the commands that ask a running control plane or sidecar, with where each listens by default.
import { formatHostPort } from '@weft/model/host-port';
import { Option } from 'commander';
import { type HostPort, parseHostPort } from './parse.ts';

const LOOPBACK = '127.0.0.1';

const adminOption = (whose: string, fallback: HostPort): Option =>
  new Option('--admin <host:port>', `admin address of the ${whose}`)
    .argParser((text: string) => parseHostPort(text, LOOPBACK))
    .default(fallback, formatHostPort(fallback));

export const controlPlaneAdminOption = (): Option =>
  adminOption('control plane', { host: LOOPBACK, port: 15_014 }).env('WEFT_ADMIN');

export const sidecarAdminOption = (): Option =>
  adminOption('sidecar', { host: LOOPBACK, port: 15_000 });
