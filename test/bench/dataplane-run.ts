// Measures scenarios of the data plane; for a network namespace of its own, where connections to Envoy's Pods are redirected to it. Its words are lines of JSON.
import { type DataPlanePlan, type DataPlaneWord, measureScenarios } from './dataplane.ts';

const say = (word: DataPlaneWord): void => void process.stdout.write(`${JSON.stringify(word)}\n`);

if (import.meta.main) {
  const [, , text = ''] = process.argv;
  const plan: DataPlanePlan = JSON.parse(text);
  const progress = (what: string): void => say({ kind: 'progress', what });
  say({ kind: 'result', result: await measureScenarios(plan, progress) });
}
