// Says in the log what is wrong with the mesh's objects: every problem once, and once more when it is gone.
import type { Logger } from 'pino';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { Source } from '../registry/source.ts';

export function logProblems(
  places: readonly Pick<Source, 'subscribe'>[],
  views: MeshViews,
  log: Logger,
  stack: AsyncDisposableStack,
): void {
  let known = new Set<string>();
  const report = (): void => {
    const now = new Map(views.problems().map((problem) => [JSON.stringify(problem), problem]));
    for (const [key, problem] of now) {
      if (known.has(key)) continue;
      if (problem.severity === 'error') log.error({ problem }, problem.message);
      else log.warn({ problem }, problem.message);
    }
    const gone = [...known].filter((key) => !now.has(key)).length;
    if (gone > 0) log.info({ solved: gone, left: now.size }, 'problems solved');
    known = new Set(now.keys());
  };
  report();
  for (const place of places) stack.use(place.subscribe(report));
}
