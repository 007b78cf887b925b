// Measures what one more proxy costs in memory, idle, with connections and in large meshes: Weft's sidecar beside Envoy.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { runRedirected, whyNoRedirect } from '../support/redirected-process.ts';
import type { MemoryPlan, MemoryResult, MemoryWord } from './memory-figures.ts';

const RUN = join(import.meta.dirname, 'memory-run.ts');

export async function measureMemory(
  plan: MemoryPlan,
  progress: (what: string) => void,
): Promise<MemoryResult> {
  const whyNoEnvoy = await whyNoRedirect();
  const lines =
    whyNoEnvoy === undefined
      ? runRedirected(RUN, [JSON.stringify(plan)])
      : runHere([JSON.stringify({ ...plan, whyNoEnvoy })]);
  for await (const line of lines) {
    const word: unknown = JSON.parse(line);
    if (!isWord(word)) throw new TypeError(`Cannot go on: a process said ${line}`);
    if (word.kind === 'result') return word.result;
    progress(word.what);
  }
  throw new Error('Cannot measure memory: its process ended without a result');
}

const isWord = (value: unknown): value is MemoryWord =>
  typeof value === 'object' &&
  value !== null &&
  'kind' in value &&
  (value.kind === 'progress' || value.kind === 'result');

/** Without Envoy no connection needs to be redirected. */
async function* runHere(args: readonly string[]): AsyncGenerator<string, void> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', RUN, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    yield* createInterface({ input: child.stdout });
  } finally {
    child.kill('SIGTERM');
  }
}
