// One side of an xDS conversation, written as short steps, for the tests of the protocol's rules.
import {
  createSession,
  DEFAULT_SESSION_LIMITS,
  nextResponse,
  type RequestOutcome,
  type Session,
  type SessionLimits,
  takeRequest,
} from '@weft/xds/protocol/session';
import type { Variant } from '@weft/xds/protocol/subscription';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeView, kindOf } from './xds-fake-view.ts';

/**
 * One side of a conversation and what must come back:
 * `ask KIND [nonce=N] [error=TEXT] NAME…` (state of the world: the whole list; delta: `+NAME`, `-NAME`, `NAME=VERSION`
 * for an initial version), `ack KIND N`, `nack KIND N`, `view RESOURCE…; RESOURCE…`.
 */
export type Line = readonly [step: string, ...responses: string[]];

export class Conversation {
  readonly session: Session;
  readonly view: FakeView;
  readonly #lists = new Map<string, readonly string[]>();
  outcome: RequestOutcome | undefined;

  constructor(variant: Variant, view: FakeView, limits: Partial<SessionLimits> = {}) {
    this.session = createSession(variant, { ...DEFAULT_SESSION_LIMITS, ...limits });
    this.view = view;
  }

  run(step: string): readonly string[] {
    const [verb, ...words] = step.split(' ');
    if (verb === 'view') this.view.put(...step.slice('view '.length).split('; '));
    else if (verb === 'ask') this.#request(words);
    else if (verb === 'ack') this.#request([words[0]!, `nonce=${words[1]}`], true);
    else if (verb === 'nack') this.#request([words[0]!, `nonce=${words[1]}`, 'error=bad'], true);
    else throw new RangeError(`Cannot run ${step}: no such verb`);
    const responses: string[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) responses.push(next);
    return responses;
  }

  #request(words: readonly string[], isAnswer = false): void {
    const kind = kindOf(words[0]);
    const option = (name: string): string | undefined =>
      words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const rest = words
      .slice(1)
      .filter((word) => !word.startsWith('nonce=') && !word.startsWith('error='));
    const nonce = option('nonce') ?? '';
    const error = option('error');
    if (this.session.variant === 'sotw') {
      const names = isAnswer ? (this.#lists.get(kind) ?? []) : rest;
      this.#lists.set(kind, names);
      const request = { kind, nonce, error, names: { kind: 'replace', names } } as const;
      this.outcome = takeRequest(this.session, request, 1_000);
      return;
    }
    const signed = (sign: string): string[] =>
      rest.flatMap((word) => (word.startsWith(sign) ? [word.slice(1)] : []));
    const initialVersions = new Map(
      rest.flatMap((word) => (word.includes('=') ? [word.split('=') as [string, string]] : [])),
    );
    const names = { subscribe: signed('+'), unsubscribe: signed('-'), initialVersions };
    const request = { kind, nonce, error, names: { kind: 'adjust', ...names } } as const;
    this.outcome = takeRequest(this.session, request, 1_000);
  }

  #next(): string | undefined {
    const response = nextResponse(this.session, this.view);
    if (response === undefined) return undefined;
    const made = response.resources.map(({ name, version }) => `+${name}@${version}`);
    const removed = response.removed.map((name) => `-${name}`);
    return [`${response.kind}#${response.nonce}`, ...made, ...removed].join(' ');
  }
}

export interface Case {
  readonly claim: string;
  readonly view: readonly string[];
  readonly lines: readonly Line[];
}

export function converse(variant: Variant, cases: readonly Case[]): void {
  for (const { claim, view, lines } of cases) {
    test(claim, () => {
      const conversation = new Conversation(variant, FakeView.of(...view));
      for (const [step, ...expected] of lines) {
        assert.deepEqual(conversation.run(step), expected, step);
      }
    });
  }
}
