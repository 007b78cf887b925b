// `weft ca`: who is trusted, and changing the root while everything runs. Changes go over the control plane's own socket.
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { examples, printJson } from '../output.ts';
import type { HostPort } from '../parse.ts';

/** Inside the state directory; only its owner may open it. */
export const ADMIN_SOCKET = 'admin.sock';

const stateDirOption = (): Option =>
  new Option('--state-dir <dir>', "the control plane's state directory").makeOptionMandatory();

export function addCaCommands(program: Command): void {
  const ca = program.command('ca').description('the certificate authority and its roots');
  ca.command('status')
    .description('roots, issuers, and the phase of a rotation with what it waits for')
    .addOption(controlPlaneAdminOption())
    .addHelpText('after', examples('weft ca status --admin 127.0.0.1:15014'))
    .action(async (flags: { readonly admin: HostPort }) => {
      printJson(await askAdminJson(flags.admin, '/v1/ca'));
    });
  const post = async (stateDir: string, path: string): Promise<void> => {
    printJson(await askAdminJson({ socketPath: join(stateDir, ADMIN_SOCKET) }, path, 'POST'));
  };
  ca.command('rotate')
    .description(
      'begin to replace the root: distribute, sign, retire; each step waits for every connected proxy',
    )
    .addOption(stateDirOption())
    .addHelpText('after', examples('weft ca rotate --state-dir ./state'))
    .action((flags: { readonly stateDir: string }) => post(flags.stateDir, '/v1/ca/rotation'));
  ca.command('rollback')
    .description('back to the root before, until it has been retired')
    .addOption(stateDirOption())
    .addHelpText('after', examples('weft ca rollback --state-dir ./state'))
    .action((flags: { readonly stateDir: string }) =>
      post(flags.stateDir, '/v1/ca/rotation/rollback'),
    );
}
