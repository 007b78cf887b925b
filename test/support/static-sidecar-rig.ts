// A sidecar of its own file before an application of this process, for tests of what such a file says.
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http, { type RequestListener } from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StaticSidecar } from '@weft/cli/static/static-sidecar';
import pino from 'pino';
import { stringify } from 'yaml';

export interface StaticRig extends AsyncDisposable {
  readonly port: number;
  readonly directory: string;
  /** Lines of the log so far. */
  readonly log: readonly string[];
  metrics(): Promise<string>;
  configDump(): Promise<string>;
  /** Writes the file anew. */
  write(sections: Readonly<Record<string, unknown>>): void;
}

/** The application tells what headers it saw. */
const echo: RequestListener = (request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ url: request.url, headers: request.headers }));
};

const ofHttp2 = (): http2.Http2Server =>
  http2.createServer((request, response) => {
    response.end(JSON.stringify({ url: request.url, headers: request.headers }));
  });

export async function startStaticRig(
  sections: Readonly<Record<string, unknown>>,
  application: RequestListener = echo,
): Promise<StaticRig> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'weft-static-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const server = sections['protocol'] === 'http2' ? ofHttp2() : http.createServer(application);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, 'listening');
  const file = join(directory, 'sidecar.yaml');
  const write = (parts: Readonly<Record<string, unknown>>): void => {
    const whole = {
      apiVersion: 'sidecar.weft.dev/v1',
      kind: 'Sidecar',
      listen: '127.0.0.1:0',
      application: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      admin: '127.0.0.1:0',
      accessLog: 'all',
      ...parts,
    };
    writeFileSync(`${file}.new`, stringify(whole));
    renameSync(`${file}.new`, file);
  };
  write(sections);
  const log: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });
  const sidecar = stack.use(new StaticSidecar({ file, log: logger, drainLimitMs: 1_000 }));
  const addresses = await sidecar.start();
  if (addresses === undefined) throw new Error('Cannot start the sidecar: it was stopped');
  const [inbound = ''] = Object.values(addresses.inbound);
  const get = async (path: string): Promise<string> =>
    await (await fetch(`http://${addresses.admin}${path}`)).text();
  const owned = stack.move();
  return {
    port: Number(inbound.slice(inbound.lastIndexOf(':') + 1)),
    directory,
    log,
    metrics: () => get('/metrics'),
    configDump: () => get('/config_dump'),
    write,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
