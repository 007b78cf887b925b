// `weft capture`: the step that turns a network namespace's traffic to its sidecar. Needs NET_ADMIN.
import {
  captureRules,
  type CaptureOptions,
  chainRules,
  DEFAULT_CAPTURE,
  type Family,
  JUMPS,
  removeRules,
  ruleArguments,
  ruleText,
} from '@weft/dataplane/listener/capture';
import { familiesInUse } from '@weft/dataplane/listener/interception-check';
import type { Command } from 'commander';
import { IPTABLES, requireAccess, restore, succeeds } from '../iptables.ts';
import { complain, examples, print } from '../output.ts';
import { collect, parseCidrText, parsePort } from '../parse.ts';

const FAMILIES: readonly Family[] = [4, 6];

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
    excludeOutboundPorts: [
      ...DEFAULT_CAPTURE.excludeOutboundPorts,
      ...(flags.excludeOutboundPort ?? []),
    ],
    excludeOutboundCidrs: flags.excludeCidr ?? [],
  };
}

/** Takes the rules away; what is not there is not missed. */
async function remove(family: Family): Promise<void> {
  for (const args of removeRules()) await succeeds(family, args);
}

async function apply(flags: CaptureFlags): Promise<void> {
  const options = optionsOf(flags);
  for (const family of FAMILIES) {
    try {
      const there = await Promise.all(
        JUMPS.map((jump) => succeeds(family, ruleArguments('-C', jump))),
      );
      const jumps = JUMPS.filter((_, index) => there[index] !== true);
      await restore(family, captureRules(options, family, jumps));
    } catch (error) {
      const isNeeded = familiesInUse().includes(family);
      if (family === 4 || isNeeded) throw error;
      complain(
        `IPv6 is not captured, and this network has no IPv6: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}

/** Says which rules are missing. */
async function check(flags: CaptureFlags): Promise<void> {
  const options = optionsOf(flags);
  const missing: string[] = [];
  for (const family of familiesInUse()) {
    await requireAccess(family);
    for (const rule of [...JUMPS, ...chainRules(options, family)]) {
      const isThere = await succeeds(family, ruleArguments('-C', rule));
      if (!isThere) missing.push(`${IPTABLES[family]} -t nat ${ruleText(rule)}`);
    }
  }
  if (missing.length === 0) {
    print("every rule is in place: this network namespace's traffic passes through its sidecar");
    return;
  }
  print(`missing:\n${missing.map((line) => `  ${line}`).join('\n')}`);
  complain('weft: traffic may pass the sidecar by; set the rules with `weft capture apply`');
  process.exitCode = 1;
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
        'weft capture check',
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
  withFlags(capture.command('check'))
    .description('whether the rules are in place; exits 1 with those that are missing')
    .action(check);
  withFlags(capture.command('print'))
    .description('show the rules')
    .action((flags: CaptureFlags) => {
      print(captureRules(optionsOf(flags), 4) + captureRules(optionsOf(flags), 6));
    });
  capture
    .command('remove')
    .description('take the rules away')
    .action(async () => {
      for (const family of FAMILIES) await remove(family);
    });
}
