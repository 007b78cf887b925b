// Reads DNS questions and writes answers: the little of RFC 1035 that a cluster's resolver needs.

export interface Question {
  readonly id: number;
  /** Lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  readonly isRecursionDesired: boolean;
  /** As it came, to be sent back. */
  readonly raw: Buffer;
}

export type RecordData =
  | { readonly kind: 'A'; readonly address: string }
  | { readonly kind: 'CNAME'; readonly name: string }
  | { readonly kind: 'SRV'; readonly port: number; readonly name: string };

export interface Answer {
  readonly isFound: boolean;
  readonly records: readonly { readonly name: string; readonly data: RecordData }[];
}

export const TYPE = { A: 1, CNAME: 5, SRV: 33, AAAA: 28 } as const;

const HEADER_BYTES = 12;
/** RFC 1035 section 2.3.4. */
const MAX_LABEL_BYTES = 63;
const MAX_NAME_BYTES = 255;
const FLAG_RESPONSE = 0x8000;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const NAME_ERROR = 3;
/** 5 s, as the cluster's own. */
const TTL_SECONDS = 5;

/** @returns `undefined` for what is no single question. */
export function readQuestion(message: Buffer): Question | undefined {
  if (message.length < HEADER_BYTES || message.readUInt16BE(4) !== 1) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & FLAG_RESPONSE) !== 0) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > MAX_LABEL_BYTES || at > MAX_NAME_BYTES) return undefined;
    at++;
    if (length === 0) break;
    labels.push(message.toString('latin1', at, at + length));
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  return {
    id: message.readUInt16BE(0),
    name: labels.join('.').toLowerCase(),
    type: message.readUInt16BE(at),
    isRecursionDesired: (flags & FLAG_RECURSION_DESIRED) !== 0,
    raw: message.subarray(HEADER_BYTES, at + 4),
  };
}

const nameBytes = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').map((label) => {
      const bytes = Buffer.from(label, 'latin1');
      return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    }),
    Buffer.from([0]),
  ]);

function dataBytes(data: RecordData): Buffer {
  switch (data.kind) {
    case 'A':
      return Buffer.from(data.address.split('.').map(Number));
    case 'CNAME':
      return nameBytes(data.name);
    case 'SRV': {
      const head = Buffer.alloc(6);
      head.writeUInt16BE(100, 2);
      head.writeUInt16BE(data.port, 4);
      return Buffer.concat([head, nameBytes(data.name)]);
    }
    default:
      return data satisfies never;
  }
}

export function writeAnswer(question: Question, { isFound, records }: Answer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(question.id, 0);
  const desired = question.isRecursionDesired ? FLAG_RECURSION_DESIRED : 0;
  const code = isFound ? 0 : NAME_ERROR;
  const flags = FLAG_RESPONSE | FLAG_AUTHORITATIVE | FLAG_RECURSION_AVAILABLE | desired | code;
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  const answers = records.map(({ name, data }) => {
    const bytes = dataBytes(data);
    const fixed = Buffer.alloc(10);
    fixed.writeUInt16BE(TYPE[data.kind], 0);
    fixed.writeUInt16BE(1, 2);
    fixed.writeUInt32BE(TTL_SECONDS, 4);
    fixed.writeUInt16BE(bytes.length, 8);
    return Buffer.concat([nameBytes(name), fixed, bytes]);
  });
  return Buffer.concat([header, question.raw, ...answers]);
}
