// `weft demo`: a mesh of three services on this machine, shown statement by statement, then left for exploring.
import type { Command } from 'commander';
import {
  allowed,
  controlPlaneAway,
  enrolment,
  outsider,
  policyEdit,
  refused,
  rotation,
} from '../demo/chapters.ts';
import { closePricesClients } from '../demo/apps/prices-client.ts';
import { exploring } from '../demo/exploring.ts';
import { findLayout } from '../demo/layout.ts';
import { DemoMesh, makeFolders, removeFolders } from '../demo/mesh.ts';
import { createStory } from '../demo/story.ts';
import { transparent } from '../demo/transparent.ts';
import { examples, print } from '../output.ts';

interface Flags {
  readonly once?: boolean;
  readonly keep?: boolean;
}

const CHAPTERS = [allowed, refused, outsider, policyEdit, rotation, controlPlaneAway];

async function demo(flags: Flags): Promise<void> {
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopped.abort());
  const layout = await findLayout();
  const folders = await makeFolders(layout);
  const story = createStory(print, process.stdout.isTTY);
  print('Weft: a service mesh on this machine. Every line says what was done and what was seen.');
  try {
    await using mesh = new DemoMesh(layout, folders);
    await enrolment(mesh, story);
    for (const chapter of CHAPTERS) {
      if (story.failed > 0 || stopped.signal.aborted) break;
      await chapter(mesh, story);
    }
    closePricesClients();
    if (story.failed === 0 && !stopped.signal.aborted) await transparent(story);
    print(`\n${story.held} statements held, ${story.failed} did not.`);
    if (flags.once !== true && !stopped.signal.aborted) {
      print(exploring(mesh));
      await new Promise((resolve) =>
        stopped.signal.addEventListener('abort', resolve, { once: true }),
      );
      print('\nStopping ...');
    }
  } finally {
    if (flags.keep === true || story.failed > 0)
      print(`Logs, manifests and state are in ${folders.root}`);
    else await removeFolders(folders);
  }
  process.exitCode = story.failed === 0 && !(flags.once === true && stopped.signal.aborted) ? 0 : 1;
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('a mesh of three services on this machine, shown step by step')
    .option('--once', 'check every statement, then end: status 0 only when all hold')
    .option('--keep', 'keep logs, manifests and state afterwards')
    .addHelpText('after', examples('weft demo', 'weft demo --once --keep'))
    .action(demo);
}
