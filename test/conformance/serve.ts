// Serves xDS in plaintext on loopback, with resources that are set by hand over HTTP, so that an outside harness can judge the server: a test program, no part of the product.
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { API_HELP } from './xds/control-api.ts';
import { openHandSetServer } from './xds/hand-set-server.ts';

const HELP = `Serves xDS around resources that are set by hand, by the product's own server.

  serve.ts [--xds-port PORT] [--api-port PORT] [--log LEVEL]

  --xds-port  gRPC, plaintext, 127.0.0.1: AggregatedDiscoveryService, and the discovery services of clusters,
              endpoints, listeners, routes and secrets; Stream… (state of the world) and Delta… of each. Default: any
  --api-port  HTTP, 127.0.0.1. Default: any
  --log       trace, debug, info, warn, error (on stderr). Default: silent

When ready it prints one line: {"xds": "127.0.0.1:PORT", "api": "http://127.0.0.1:PORT"}. SIGTERM or SIGINT ends it.
Any node.id is served; one that nothing was set for has nothing.

The API:
${API_HELP}`;

function portOf(text: string | undefined, option: string): number {
  const port = text === undefined ? 0 : Number(text);
  if (text === '' || !Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError(`Cannot listen: --${option} ${text} is no port`);
  return port;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'xds-port': { type: 'string' },
      'api-port': { type: 'string' },
      log: { type: 'string', default: 'silent' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const ended = new AbortController();
  const end = (): void => ended.abort();
  process.on('SIGTERM', end).on('SIGINT', end);
  await using server = await openHandSetServer({
    xdsPort: portOf(values['xds-port'], 'xds-port'),
    apiPort: portOf(values['api-port'], 'api-port'),
    log: pino({ level: values.log }, process.stderr),
  });
  process.stdout.write(`${JSON.stringify({ xds: server.xds, api: server.api })}\n`);
  if (!ended.signal.aborted) await once(ended.signal, 'abort');
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
