// `weft demo` in an image: it needs a checkout, and says so. The build puts this file in the place of `demo.ts`.
import type { Command } from 'commander';

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('see a small mesh at work (from a checkout of Weft)')
    .allowUnknownOption()
    .action(() => {
      throw new Error(
        'Cannot show the demo here: this is an image; run bin/weft demo in a checkout',
      );
    });
}
