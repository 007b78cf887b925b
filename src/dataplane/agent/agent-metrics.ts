// Counts what an agent does for the programs beside it: streams that it carries, messages, and what it refused.
import type { MetricsRegistry } from '../telemetry/metrics.ts';

export type AgentRefusal =
  | 'not-attested'
  | 'not-served'
  | 'too-many'
  | 'another-node'
  | 'bad-request'
  | 'control-plane';

export type AgentMetrics = ReturnType<typeof createAgentMetrics>;

export function createAgentMetrics(registry: MetricsRegistry) {
  const refused = registry.counter({
    name: 'weft_agent_refused_total',
    help: 'Calls of programs beside the agent that were refused',
    labels: ['reason'],
  });
  const messages = registry.counter({
    name: 'weft_agent_relayed_messages_total',
    help: 'Messages of discovery that were relayed, by direction',
    labels: ['direction'],
  });
  const answers = registry.counter({
    name: 'weft_agent_answers_total',
    help: 'Answers of the programs beside the agent to what was delivered',
    labels: ['answer'],
  });
  const streams = registry
    .gauge({
      name: 'weft_agent_streams',
      help: 'Streams of discovery that are carried now',
      labels: [],
    })
    .labels();
  const [up, down] = [messages.labels('request'), messages.labels('response')];
  return {
    refused: (reason: AgentRefusal) => refused.labels(reason).inc(),
    asked: () => up.inc(),
    delivered: () => down.inc(),
    answered: (isAccepted: boolean) => answers.labels(isAccepted ? 'accepted' : 'refused').inc(),
    streams: (count: number) => streams.set(count),
  };
}
