// `weft guard`: becomes another program that the system ends as soon as whoever started this has ended, however that was.
import { becomeGuarded } from '@weft/dataplane/agent/envoy/guard';
import type { Command } from 'commander';

export function addGuardCommand(program: Command): void {
  program
    .command('guard', { hidden: true })
    .description('run a program that ends with its parent')
    .argument('<parent>', 'process id of the parent')
    .argument('<program>', 'path of the program')
    .argument('[args...]', 'its arguments')
    .passThroughOptions()
    .allowUnknownOption()
    .action(becomeGuarded);
}
