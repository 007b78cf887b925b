// What h2spec, a test of HTTP/2 peers that others wrote, must find nothing wrong with: the sidecar as a server, and as a client of a server that does everything wrong.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import http2 from 'node:http2';
import { createInterface } from 'node:readline';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildGoProgram, type BuiltProgram } from '../bench/peers/go-program.ts';
import { createRig, listen } from '../support/http2-rig.ts';

const SOURCES = fileURLToPath(new URL('../h2spec', import.meta.url));
/** As many as there are at least, so that a run which found nothing to test is no success. */
const MIN_SERVER_CASES = 140;
const MIN_CLIENT_CASES = 55;

/**
 * h2spec would have the connection end. RFC 9113 §6.1 asks for an error of the stream, and the connection carries the
 * requests of others.
 */
const NOT_WRONG = 'client/5.1 8: closed: Sends a DATA frame';

let built: BuiltProgram = { missing: 'h2spec was not built' };

before(async () => {
  built = await buildGoProgram({
    name: 'h2spec',
    sources: SOURCES,
    progress: (what) => void process.stderr.write(`… ${what}\n`),
  });
});

async function startBackend(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    // Not before: an answer that overtakes a request is sent on, whatever is wrong with the rest of that.
    stream.on('end', () => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200 });
      stream.end('an answer of some length');
    });
    stream.resume();
  });
  const port = await listen(server);
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

test('h2spec finds nothing wrong with the sidecar as a server', async (t) => {
  if ('missing' in built) return t.skip(built.missing);
  await using backend = await startBackend();
  await using rig = await createRig(backend.port);
  const { stdout } = await promisify(execFile)(built.path, ['server', String(rig.port)]).catch(
    (error: unknown) => {
      if (error instanceof Error && 'stdout' in error) assert.fail(String(error.stdout));
      throw error;
    },
  );
  const passed = Number(/(\d+) passed, 0 skipped, 0 failed/.exec(stdout)?.[1]);
  assert.ok(passed >= MIN_SERVER_CASES, stdout);
});

interface Said {
  readonly port?: number;
  readonly title: string;
  readonly error: string;
}

/** Asks for something through a sidecar whose upstream is at `port`; whatever comes of it. */
async function askThrough(port: number): Promise<AsyncDisposable> {
  const rig = await createRig(port);
  const session = http2.connect(`http://127.0.0.1:${rig.port}`);
  session.on('error', () => undefined);
  session.request({ ':path': '/' }).on('error', () => undefined);
  return {
    async [Symbol.asyncDispose]() {
      session.destroy();
      await rig[Symbol.asyncDispose]();
    },
  };
}

test('h2spec finds nothing wrong with the sidecar as a client', async (t) => {
  if ('missing' in built) return t.skip(built.missing);
  const child = spawn(built.path, ['client'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  await using stack = new AsyncDisposableStack();
  stack.defer(() => void child.kill());
  let asking: AsyncDisposable | undefined;
  const wrong: string[] = [];
  let cases = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const { port, title, error } = JSON.parse(line) as Said;
    if (port !== undefined) {
      asking = await askThrough(port);
      continue;
    }
    await asking?.[Symbol.asyncDispose]();
    cases++;
    if (title === NOT_WRONG) assert.match(error, /got RST_STREAM Frame/);
    else if (error !== '') wrong.push(`${title}: ${error}`);
  }
  assert.deepEqual((await exit)[0], 0);
  assert.deepEqual(wrong, []);
  assert.ok(cases >= MIN_CLIENT_CASES, `${cases} cases`);
});
