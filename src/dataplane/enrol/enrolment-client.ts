// Asks for a first certificate with a token: the server is verified by the pinned bundle, the answer by what was asked.
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { messageOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { openChannel } from '../control-plane/link.ts';
import { whyNoAnswer } from '../control-plane/why-no-answer.ts';
import { checkSvid, type ExpectedIdentity, readBundle, type Svid } from './check-svid.ts';
import { createKeyAndRequest } from './csr.ts';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { evidenceFields } from './evidence.ts';

export interface EnrolOptions {
  readonly address: string;
  /** Pinned: the only roots that the server may be issued under. */
  readonly bundlePem: string;
  readonly controlPlane: SpiffeId;
  readonly evidence: Evidence;
  readonly expected: ExpectedIdentity;
  readonly clock: Clock;
}

export type Enrolled =
  | { readonly ok: true; readonly svid: Svid; readonly bundleVersion: string }
  /** `isFinal`: trying again with the same token cannot help. */
  | { readonly ok: false; readonly isFinal: boolean; readonly reason: string };

const SERVICE = 'weft.enrolment.v1.Enrolment';
const DEADLINE_MS = 10_000;

/** Codes after which the same request may succeed. */
const PASSING: ReadonlySet<number> = new Set([
  STATUS.UNAVAILABLE,
  STATUS.DEADLINE_EXCEEDED,
  STATUS.RESOURCE_EXHAUSTED,
  STATUS.ABORTED,
  STATUS.INTERNAL,
  STATUS.CANCELLED,
]);

export async function enrol(options: EnrolOptions): Promise<Enrolled> {
  const own = await createKeyAndRequest();
  const method = serviceDefinition(SERVICE)['Enrol'];
  if (method === undefined) throw new TypeError(`Cannot find Enrol of ${SERVICE}`);
  const channel = openChannel(options);
  try {
    const request = { csr_der: own.csrDer, ...evidenceFields(options.evidence) };
    const answer = await channel.ask(method.path, method.requestSerialize(request), DEADLINE_MS);
    const response = readAnswer(answer, method.responseDeserialize);
    const bundle = readBundle(messageOf(response, 'bundle'));
    if (bundle === undefined) {
      return { ok: false, isFinal: true, reason: 'the control plane sent no usable bundle' };
    }
    const check = checkSvid(messageOf(response, 'svid'), own, {
      bundlePem: bundle.pem,
      roots: bundle.roots,
      expected: options.expected,
      nowMs: options.clock.now(),
    });
    if (!check.ok) return { ok: false, isFinal: true, reason: check.reason };
    return { ok: true, svid: check.svid, bundleVersion: bundle.version };
  } catch (error) {
    if (!(error instanceof CallFailure)) throw error;
    return { ok: false, isFinal: !PASSING.has(error.code), reason: whyNoAnswer(error.details) };
  } finally {
    channel.close();
  }
}

function readAnswer(bytes: Buffer, read: (bytes: Buffer) => object): PlainMessage {
  try {
    return { ...read(bytes) };
  } catch (error) {
    throw new CallFailure(STATUS.INTERNAL, `the answer cannot be read: ${String(error)}`);
  }
}
