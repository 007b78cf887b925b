// A gRPC client as anybody writes one with grpc-js, with its configuration by xds:///: it makes the calls that it is told on
// standard input, and says a JSON object a line.
import { createInterface } from 'node:readline';
import {
  type CallOptions,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { register, XdsChannelCredentials } from '@grpc/grpc-js-xds';

interface Order {
  readonly id: number;
  readonly target: string;
  readonly method: string;
  readonly value: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeMs: number;
  readonly count?: number;
  readonly waits?: boolean;
  readonly fresh?: boolean;
}

const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
/** `google.protobuf.StringValue`, shorter than 128 bytes. */
const encode = (text: string): Buffer =>
  text === '' ? Buffer.alloc(0) : Buffer.concat([Buffer.of(10, text.length), Buffer.from(text)]);
const decode = (bytes: Buffer): string => bytes.subarray(2).toString();

register();
const channels = new Map<string, Client>();
const dial = (target: string): Client =>
  new Client(target, new XdsChannelCredentials(credentials.createInsecure()));
function channelTo(target: string): Client {
  const channel = channels.get(target) ?? dial(target);
  channels.set(target, channel);
  return channel;
}

const once = (channel: Client, order: Order): Promise<readonly [string, string, string]> =>
  new Promise((resolve) => {
    const metadata = new Metadata({ waitForReady: order.waits === true });
    for (const [name, value] of Object.entries(order.headers ?? {})) metadata.set(name, value);
    const options: CallOptions = { deadline: Date.now() + order.timeMs };
    const done = (error: ServiceError | null, reply?: string): void =>
      resolve([status[error?.code ?? status.OK] ?? '', reply ?? '', error?.details ?? '']);
    channel.makeUnaryRequest(order.method, encode, decode, order.value, metadata, options, done);
  });

async function run(order: Order): Promise<void> {
  const channel = order.fresh === true ? dial(order.target) : channelTo(order.target);
  const codes: string[] = [];
  const values: string[] = [];
  let message = '';
  const begun = performance.now();
  for (let at = 0; at < (order.count ?? 1); at++) {
    const [code, value, details] = await once(channel, order);
    codes.push(code);
    values.push(value);
    if (details !== '') message = details;
  }
  if (order.fresh === true) channel.close();
  say({ id: order.id, codes, values, message, tookMs: Math.round(performance.now() - begun) });
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) void run(JSON.parse(line));
process.exit(0);
