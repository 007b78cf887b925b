// `weft htpasswd`: a line for a list of users, from a password that is read and never shown.
import { DEFAULT_BCRYPT_COST, htpasswdLine } from '@weft/dataplane/login/hash-password';
import { BCRYPT_COSTS } from '@weft/model/login/htpasswd';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { complain, examples, print } from '../output.ts';

/** Far above the longest password. */
const MAX_INPUT = 4_096;

function parseCost(text: string): number {
  const { min, max } = BCRYPT_COSTS;
  const cost = Number(text);
  if (Number.isInteger(cost) && cost >= min && cost <= max) return cost;
  throw new InvalidArgumentError(`write ${min} to ${max}; each more doubles the time of a login`);
}

/** The first line of standard input; from a terminal without showing it. */
async function readPassword(): Promise<string> {
  const { stdin } = process;
  const isTerminal = stdin.isTTY;
  if (isTerminal) {
    process.stderr.write('Password: ');
    stdin.setRawMode(true);
  }
  let text = '';
  try {
    for await (const chunk of stdin) {
      text += String(chunk);
      // A terminal that shows nothing also leaves interrupting to its reader.
      if (isTerminal && text.includes('\u0003'))
        throw new Error('Cannot read a password: it was interrupted');
      if (text.includes('\n') || text.includes('\r') || text.length > MAX_INPUT) break;
    }
  } finally {
    if (isTerminal) {
      stdin.setRawMode(false);
      complain('');
    }
  }
  return text.split('\n', 1)[0]?.split('\r', 1)[0] ?? '';
}

async function htpasswd(user: string, { cost }: { readonly cost: number }): Promise<void> {
  print(await htpasswdLine(user, await readPassword(), cost));
  process.stdin.destroy();
}

export function addHtpasswdCommand(program: Command): void {
  program
    .command('htpasswd')
    .description('a line for a list of users: the password is read from standard input')
    .argument('<user>', "the user's name")
    .addOption(
      new Option('--cost <number>', 'of bcrypt').argParser(parseCost).default(DEFAULT_BCRYPT_COST),
    )
    .addHelpText(
      'after',
      examples('weft htpasswd ann >> users.htpasswd', 'echo secret | weft htpasswd ann'),
    )
    .action(htpasswd);
}
