// `weft capture`: the step that turns a network namespace's traffic to its sidecar. Needs NET_ADMIN.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import {
  captureRules,
  DEFAULT_CAPTURE,
  removeRules,
  type CaptureOptions,
} from '@weft/dataplane/listener/capture';
import type { Command } from 'commander';
import { complain, examples, print } from '../output.ts';
import { collect, parseCidrText, parsePort } from '../parse.ts';

const run = promisify(execFile);
const TOOLS = { 4: 'iptables', 6: 'ip6tables' } as const;

interface CaptureFlags {
  readonly proxyUid: string;
  readonly excludeInboundPort?: readonly number[];
  readonly excludeOutboundPort?: readonly number[];
  readonly excludeCidr?: readonly string[];
}

function optionsOf(flags: CaptureFlags): CaptureOptions {
  const proxyUid = Number(flags.proxyUid);
  if (!Number.isInteger(proxyUid) || proxyUid < 0) {
    throw new RangeError(
      `Cannot capture: "${flags.proxyUid}" is no user id; write a number, for example 1337`,
    );
  }
  return {
    ...DEFAULT_CAPTURE,
    proxyUid,
    excludeInboundPorts: [
      ...DEFAULT_CAPTURE.excludeInboundPorts,
      ...(flags.excludeInboundPort ?? []),
    ],
    excludeOutboundPorts: flags.excludeOutboundPort ?? [],
    excludeOutboundCidrs: flags.excludeCidr ?? [],
  };
}

/** Takes the rules away; what is not there is not missed. */
async function remove(family: 4 | 6): Promise<void> {
  for (const args of removeRules()) {
    try {
      await run(TOOLS[family], [...args]);
    } catch (error) {
      const code = (error as { readonly code?: unknown }).code;
      if (code === 'ENOENT')
        throw new Error(`Cannot capture: ${TOOLS[family]} is not installed`, { cause: error });
    }
  }
}

async function apply(flags: CaptureFlags): Promise<void> {
  const options = optionsOf(flags);
  for (const family of [4, 6] as const) {
    try {
      await remove(family);
      const input = captureRules(options, family);
      execFileSync(`${TOOLS[family]}-restore`, ['--noflush'], {
        input,
        stdio: ['pipe', 'inherit', 'pipe'],
      });
    } catch (error) {
      if (family === 4) throw error;
      complain(`IPv6 is not captured: ${String(error).split('\n', 1)[0]}`);
    }
  }
}

export function addCaptureCommands(program: Command): void {
  const capture = program
    .command('capture')
    .description('redirect traffic of this network namespace to its sidecar')
    .addHelpText(
      'after',
      examples(
        'weft capture print --proxy-uid 1337',
        'weft capture apply --proxy-uid 1337 --exclude-inbound-port 9100',
        'weft capture remove',
      ),
    );
  const withFlags = (command: Command): Command =>
    command
      .option('--proxy-uid <uid>', "the sidecar's own user, whose traffic is left alone", '1337')
      .option('--exclude-inbound-port <port>', 'reached without the sidecar', collect(parsePort))
      .option('--exclude-outbound-port <port>', 'called without the sidecar', collect(parsePort))
      .option('--exclude-cidr <cidr>', 'called without the sidecar', collect(parseCidrText));
  withFlags(capture.command('apply')).description('set the rules').action(apply);
  withFlags(capture.command('print'))
    .description('show the rules')
    .action((flags: CaptureFlags) => {
      print(captureRules(optionsOf(flags), 4) + captureRules(optionsOf(flags), 6));
    });
  capture
    .command('remove')
    .description('take the rules away')
    .action(async () => {
      await remove(4);
      await remove(6);
    });
}
