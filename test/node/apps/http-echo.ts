// An HTTP application for Pods: tells what it was asked, answers probes, and ends as a careful server does.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

// PORT; HOST: listens there alone; NAME; LAME_DUCK_MS: goes on for so long after SIGTERM; TLS_CERT and TLS_KEY: files.
const { PORT = '8080', HOST, NAME = hostname(), LAME_DUCK_MS = '0' } = process.env;
const { TLS_CERT, TLS_KEY } = process.env;
const MAX_BODY_CHARS = 1_048_576;
const unhealthy = new Set<string>();

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    if (text.length < MAX_BODY_CHARS) text += String(chunk);
  }
  return text;
}

/** `/healthz` and `/readyz` are good until `/fail/NAME`; `/status/N` answers so; `/slow/MS` waits; all else echoes. */
async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/', headers, socket } = request;
  const [, verb = '', argument = ''] = url.split('/');
  const body = await bodyOf(request);
  if (verb === 'fail') unhealthy.add(argument);
  if (verb === 'heal') unhealthy.delete(argument);
  if (verb === 'status') response.statusCode = Number(argument);
  if (verb === 'slow') {
    process.stdout.write(`slow ${argument} begins\n`);
    await delay(Number(argument));
  }
  if (unhealthy.has(verb)) response.statusCode = 503;
  response.setHeader('content-type', 'application/json');
  const peer = socket.remoteAddress;
  response.end(JSON.stringify({ name: NAME, pod: hostname(), method, url, headers, peer, body }));
}

const listener = (request: IncomingMessage, response: ServerResponse): void => {
  handle(request, response).catch((error: unknown) =>
    response.destroy(error instanceof Error ? error : undefined),
  );
};
const server =
  TLS_CERT === undefined || TLS_KEY === undefined
    ? createServer(listener)
    : createTlsServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) }, listener);
server.listen(Number(PORT), HOST, () => process.stdout.write(`http-echo listens on ${PORT}\n`));

process.on('SIGTERM', () => {
  process.stdout.write('http-echo ends\n');
  setTimeout(() => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  }, Number(LAME_DUCK_MS));
});
