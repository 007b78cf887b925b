// The options by which a sidecar hands credentials to its application: a URL, files, and who may have them.
import { constants } from 'node:os';
import { isAbsolute } from 'node:path';
import type {
  AllowedCallers,
  CredentialsOptions,
  FilesDelivery,
  OnChange,
  Owner,
  UrlDelivery,
} from '@weft/dataplane/credentials/options';
import { parseIp } from '@weft/model/ip';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { collect, type HostPort, parseAbsolutePath, parseHostPort } from './parse.ts';

export interface CredentialsFlags {
  readonly credentialsSocket?: string;
  readonly credentialsListen?: HostPort;
  readonly credentialsAllow?: readonly AllowedId[];
  readonly credentialsTokenFile?: string;
  readonly credentialsDir?: string;
  readonly credentialsMode: number;
  readonly credentialsOwner?: Owner;
  readonly credentialsOnChange?: OnChange;
  readonly credentialsForce?: boolean;
}

export interface AllowedId {
  readonly kind: 'uid' | 'gid' | 'pid';
  readonly id: number;
}

const LOOPBACK = '127.0.0.1';
/** Who may read the token's file and connect to the socket is decided by owner and group, and then by the kernel's word. */
const SOCKET_MODE = 0o666;
export const DEFAULT_FILE_MODE = 0o440;
const MAX_ID = 0xffff_fffe;

export const addCredentialsOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--credentials-socket <path>',
        'hand credentials to the application at this Unix socket',
      ).argParser(parseAbsolutePath),
    )
    .addOption(
      new Option(
        '--credentials-listen <[host:]port>',
        'hand them over at a port of loopback; needs --credentials-token-file',
      )
        .argParser((text: string) => parseHostPort(text, LOOPBACK))
        .conflicts('credentialsSocket'),
    )
    .option(
      '--credentials-allow <uid=N|gid=N|pid=N>',
      'whom the socket answers (again for more; user, group and process must all fit); default: the own user',
      collect(parseAllowed),
    )
    .addOption(
      new Option(
        '--credentials-token-file <path>',
        'write a start-up token there (on a tmpfs), which must come with every request',
      ).argParser(parseAbsolutePath),
    )
    .addOption(
      new Option(
        '--credentials-dir <path>',
        'keep credentials as files in this folder (on a tmpfs): NAME/KEY',
      ).argParser(parseAbsolutePath),
    )
    .addOption(
      new Option('--credentials-mode <octal>', 'mode of those files, and of the token’s')
        .argParser(parseMode)
        .default(DEFAULT_FILE_MODE, '0440'),
    )
    .addOption(
      new Option('--credentials-owner <uid:gid>', 'owner of those files').argParser(parseOwner),
    )
    .addOption(
      new Option(
        '--credentials-on-change <signal:NAME:PIDFILE|command:[...]>',
        'tell the application that files have changed: a signal to the process of a pid file, or a command as a JSON list',
      ).argParser(parseOnChange),
    )
    .option(
      '--credentials-force',
      'write files and token although the file system is not in memory',
    );

/** @returns `undefined` when the application gets none. @throws Error that names the option and what to write. */
export function credentialsOptionsOf(flags: CredentialsFlags): CredentialsOptions | undefined {
  const url = urlOf(flags);
  const files = filesOf(flags);
  if (url === undefined && files === undefined) {
    const stray = (['credentialsAllow', 'credentialsTokenFile'] as const).find(
      (name) => flags[name] !== undefined,
    );
    if (stray !== undefined || flags.credentialsOnChange !== undefined) {
      throw new Error(
        'there are options of credentials, but no way to them: give --credentials-socket, --credentials-listen or --credentials-dir',
      );
    }
    return undefined;
  }
  return { url, files };
}

function urlOf(flags: CredentialsFlags): UrlDelivery | undefined {
  const { credentialsSocket: path, credentialsListen: port, credentialsMode: mode } = flags;
  const { credentialsTokenFile, credentialsOwner: owner } = flags;
  const tokenFile =
    credentialsTokenFile === undefined
      ? undefined
      : { path: credentialsTokenFile, mode, ...(owner && { owner }) };
  const isForced = flags.credentialsForce === true;
  if (path !== undefined) {
    const listen = { kind: 'unix', path, mode: SOCKET_MODE } as const;
    return { listen, allowed: allowedOf(flags.credentialsAllow), tokenFile, isForced };
  }
  if (port === undefined) return undefined;
  if (!isLoopback(port.host)) {
    throw new Error(`--credentials-listen: ${port.host} is not loopback; write 127.0.0.1 or [::1]`);
  }
  if (tokenFile === undefined) {
    throw new Error(
      '--credentials-listen needs --credentials-token-file: at a port nobody says who calls; or use --credentials-socket',
    );
  }
  if (flags.credentialsAllow !== undefined) {
    throw new Error(
      '--credentials-allow is for --credentials-socket: a port does not say who calls',
    );
  }
  const listen = { kind: 'tcp', ...port } as const;
  return { listen, allowed: { uids: [], gids: [], pids: [] }, tokenFile, isForced };
}

function filesOf(flags: CredentialsFlags): FilesDelivery | undefined {
  const { credentialsDir: directory, credentialsMode: mode, credentialsOwner: owner } = flags;
  const { credentialsOnChange: onChange } = flags;
  if (directory === undefined) return undefined;
  return { directory, mode, owner, onChange, isForced: flags.credentialsForce === true };
}

export function allowedOf(ids: readonly AllowedId[] | undefined): AllowedCallers {
  const own = process.getuid?.();
  const given = ids ?? (own === undefined ? [] : [{ kind: 'uid', id: own } as const]);
  const of = (kind: AllowedId['kind']): readonly number[] =>
    given.flatMap((one) => (one.kind === kind ? [one.id] : []));
  return { uids: of('uid'), gids: of('gid'), pids: of('pid') };
}

const isLoopback = (host: string): boolean => {
  if (host === '::1' || host === 'localhost') return true;
  return parseIp(host)?.family === 4 && host.startsWith('127.');
};

function parseId(text: string): number | undefined {
  const id = Number(text);
  return String(id) === text && Number.isInteger(id) && id >= 0 && id <= MAX_ID ? id : undefined;
}

export function parseAllowed(text: string): AllowedId {
  const [kind, number = '', ...more] = text.split('=');
  const id = parseId(number);
  const isKind = kind === 'uid' || kind === 'gid' || kind === 'pid';
  if (!isKind || id === undefined || more.length > 0) {
    throw new InvalidArgumentError(`"${text}" names nobody; write uid=1000, gid=1000 or pid=7`);
  }
  return { kind, id };
}

export function parseMode(text: string): number {
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
  if (mode !== undefined && (mode & 0o137) === 0 && (mode & 0o400) !== 0) return mode;
  throw new InvalidArgumentError(
    `"${text}" is no mode for secrets; write 0400, 0440 or 0640: readable by owner and group at most`,
  );
}

export function parseOwner(text: string): Owner {
  const [user = '', group = '', ...more] = text.split(':');
  const uid = parseId(user);
  const gid = parseId(group);
  if (uid === undefined || gid === undefined || more.length > 0)
    throw new InvalidArgumentError(`"${text}" is no owner; write UID:GID: 1000:1000`);
  return { uid, gid };
}

const ON_CHANGE_CURE = 'write signal:HUP:/run/app.pid, or command:["/usr/bin/app","reload"]';

export function parseOnChange(text: string): OnChange {
  const refuse = (): never => {
    throw new InvalidArgumentError(`"${text}" says not what to do; ${ON_CHANGE_CURE}`);
  };
  const colon = text.indexOf(':');
  const rest = text.slice(colon + 1);
  if (text.startsWith('command:')) return { kind: 'command', argv: parseArgv(rest) ?? refuse() };
  const at = rest.indexOf(':');
  if (!text.startsWith('signal:') || at === -1) return refuse();
  const signal = signalOf(rest.slice(0, at)) ?? refuse();
  const pidFile = rest.slice(at + 1);
  return isAbsolute(pidFile) ? { kind: 'signal', signal, pidFile } : refuse();
}

function parseArgv(text: string): readonly string[] | undefined {
  let argv: unknown;
  try {
    argv = JSON.parse(text);
  } catch {
    /** Said by the caller, with what to write. */
    return undefined;
  }
  if (!Array.isArray(argv) || argv.length === 0) return undefined;
  const texts = argv.filter((item): item is string => typeof item === 'string');
  const [command = ''] = texts;
  return texts.length === argv.length && isAbsolute(command) ? texts : undefined;
}

/** `HUP` or `SIGHUP`. */
export function signalOf(text: string): NodeJS.Signals | undefined {
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  return isSignal(name) ? name : undefined;
}

const isSignal = (name: string): name is NodeJS.Signals => Object.hasOwn(constants.signals, name);
