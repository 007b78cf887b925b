// Sends one request through the gate for tokens, and says what became of it.
import { JWT_FILTER } from '@weft/model/policy/rbac';
import { ConnectionFacts, type RequestHead } from '@weft/dataplane/filters/connection-facts';
import { HeadEdits } from '@weft/dataplane/filters/head-edits';
import type { GateOutcome, RequestGate } from '@weft/dataplane/filters/request-gate';

export type Headers = Readonly<Record<string, string | readonly string[]>>;

export interface Passed {
  /** `pass`, or the status and reason of the refusal. */
  readonly said: string;
  readonly outcome: GateOutcome;
  readonly wasLater: boolean;
  readonly facts: ConnectionFacts;
  readonly edits: HeadEdits;
  readonly claim: (...path: readonly string[]) => unknown;
}

export async function pass(
  gate: RequestGate,
  headers: Headers = {},
  { path = '/', method = 'GET', atMs = Date.now() } = {},
): Promise<Passed> {
  const head: RequestHead = {
    method,
    path,
    authority: 'a',
    header: (name) => {
      const value = headers[name];
      return typeof value === 'string' ? [value] : value;
    },
    names: () => Object.keys(headers),
  };
  const facts = new ConnectionFacts(
    {
      sourceAddress: '10.0.0.9',
      sourcePort: 40_000,
      destinationAddress: '10.0.0.7',
      destinationPort: 8080,
      serverName: '',
    },
    undefined,
  );
  facts.setRequest(head, path.split('?')[0] ?? '', path, facts.sourceIp);
  const edits = new HeadEdits();
  const request = { facts, edits: () => edits, requestId: 'r', atMs, meshHeaders: () => [] };
  const first = gate.check(request);
  const outcome = first === 'later' ? await gate.checkLater(request) : first;
  facts.applyEdits(edits);
  return {
    said: outcome.kind === 'pass' ? 'pass' : `${outcome.status} ${outcome.reasonCode}`,
    outcome,
    wasLater: first === 'later',
    facts,
    edits,
    claim: (...claimPath) => facts.metadata(JWT_FILTER, ['payload', ...claimPath]),
  };
}

export const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });
