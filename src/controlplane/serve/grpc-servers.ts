// What a gRPC server without a proxy has of its listeners, told as a sidecar's one inbound listener is.
import type { Session } from '@weft/xds/protocol/session';
import { inboundVersionOf, isServerListener } from '../resources/grpc/grpc-names.ts';
import type { GrpcLibrary } from './view-source.ts';

/** A program that serves without a proxy. */
export interface GrpcServer {
  readonly proxyId: string;
  readonly library: GrpcLibrary;
}

export interface InboundStatus {
  /** Of the inbound listener whose rules its listeners all carry; absent where one has others, or none yet. */
  readonly acked: string | undefined;
  readonly refused: string | undefined;
}

/** @returns `undefined` for a program that serves nobody. */
export function inboundStatusOf(state: Session): InboundStatus | undefined {
  const entries = [...(state.subscriptions.get('listener')?.entries ?? [])].filter(([name]) =>
    isServerListener(name),
  );
  const [first] = entries;
  if (first === undefined) return undefined;
  const acked = inboundVersionOf(first[1].acked);
  const isSame = entries.every(([, entry]) => inboundVersionOf(entry.acked) === acked);
  const refusing = entries.find(([, { rejected }]) => rejected !== undefined);
  return { acked: isSame ? acked : undefined, refused: inboundVersionOf(refusing?.[1].rejected) };
}
