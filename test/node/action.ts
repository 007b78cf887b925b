// Does once what a probe or a lifecycle hook asks for: a request from the node to the Pod, or a command in the container.
import { connect as connectHttp2 } from 'node:http2';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Action, Container, HttpAction } from './pod.ts';
import type { CommandEnd } from './run-command.ts';

export interface ActionTarget {
  readonly podIp: string;
  readonly container: Container;
  exec(argv: readonly string[], timeoutMs: number): Promise<CommandEnd>;
}

/** The text says what came back, for logs and messages. */
export interface ActionEnd {
  readonly isOk: boolean;
  readonly text: string;
}

/** What a gRPC health answer is when it is good: field 1, `SERVING`. */
const SERVING = Buffer.from([8, 1]);
const GRPC_HEADER_BYTES = 5;
/** 10 KiB of an answer are read, as by kubelets. */
const MAX_BODY_BYTES = 10_240;

const portNumber = (container: Container, port: number | string): number =>
  typeof port === 'number'
    ? port
    : (container.ports?.find(({ name }) => name === port)?.containerPort ?? Number(port));

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function bodyOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > MAX_BODY_BYTES) break;
  }
  return text;
}

function http(
  { path = '/', port, host, scheme = 'HTTP', httpHeaders = [] }: HttpAction,
  { podIp, container }: ActionTarget,
  signal: AbortSignal,
): Promise<ActionEnd> {
  const headers: Record<string, string | string[]> = {
    'user-agent': 'kube-probe/1.36',
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of httpHeaders) {
    const before = headers[name.toLowerCase()];
    headers[name.toLowerCase()] =
      before === undefined || name.toLowerCase() === 'host' ? value : [before, value].flat();
  }
  const options = { host: host ?? podIp, port: portNumber(container, port), path, headers, signal };
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage): void => {
      const { statusCode = 0 } = answer;
      bodyOf(answer).then(
        (body) =>
          resolve({
            isOk: statusCode >= 200 && statusCode < 400,
            text: `HTTP probe failed with statuscode: ${statusCode} ${body}`.trim(),
          }),
        reject,
      );
    };
    const request =
      scheme === 'HTTPS'
        ? httpsRequest({ ...options, rejectUnauthorized: false }, onAnswer)
        : httpRequest(options, onAnswer);
    request.once('error', reject).end();
  });
}

function tcp(port: number, host: string, signal: AbortSignal): Promise<ActionEnd> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve({ isOk: true, text: 'connected' });
    });
  });
}

/** `grpc.health.v1.Health/Check` over plain HTTP/2. */
async function grpc(
  { port, service = '' }: { readonly port: number; readonly service?: string },
  host: string,
  signal: AbortSignal,
): Promise<ActionEnd> {
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([10, name.length]), name]);
  const frame = Buffer.alloc(GRPC_HEADER_BYTES);
  frame.writeUInt32BE(message.length, 1);
  const session = connectHttp2(`http://${host}:${port}`);
  try {
    return await new Promise<ActionEnd>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('timeout')), { once: true });
      session.once('error', reject);
      const stream = session.request({
        ':method': 'POST',
        ':path': '/grpc.health.v1.Health/Check',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const chunks: Buffer[] = [];
      let status: unknown;
      stream.once('error', reject);
      stream.once('response', (headers) => (status = headers['grpc-status']));
      stream.once('trailers', (headers) => (status = headers['grpc-status']));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('end', () => {
        const answer = Buffer.concat(chunks).subarray(GRPC_HEADER_BYTES);
        const isOk = String(status) === '0' && answer.equals(SERVING);
        resolve({ isOk, text: `gRPC status ${String(status)}, health ${answer.toString('hex')}` });
      });
      stream.end(Buffer.concat([frame, message]));
    });
  } finally {
    session.destroy();
  }
}

/** Never throws: whatever goes wrong is the answer. */
export async function act(
  action: Action,
  target: ActionTarget,
  timeoutMs: number,
): Promise<ActionEnd> {
  const { exec, httpGet, tcpSocket, sleep } = action;
  const { podIp, container } = target;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    if (exec !== undefined) {
      const { code, stdout, stderr } = await target.exec(exec.command ?? [], timeoutMs);
      return { isOk: code === 0, text: `${stdout}${stderr}`.trim() };
    }
    if (httpGet !== undefined) return await http(httpGet, target, signal);
    if (tcpSocket !== undefined) {
      const { port, host = podIp } = tcpSocket;
      return await tcp(portNumber(container, port), host, signal);
    }
    if (action.grpc !== undefined) return await grpc(action.grpc, podIp, signal);
    if (sleep !== undefined) await delay(sleep.seconds * 1_000);
    return { isOk: true, text: '' };
  } catch (error) {
    return { isOk: false, text: signal.aborted ? 'timeout' : textOf(error) };
  }
}
