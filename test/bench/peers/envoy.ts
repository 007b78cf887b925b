// Runs Envoys of the benchmark: one worker each, static configuration, ended by their own pid.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, closeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Endpoint } from './envoy-config.ts';

const READY_MS = 15_000;
const POLL_MS = 2;

export interface RunningEnvoy extends AsyncDisposable {
  readonly pid: number;
}

/** A port that is free now; Envoy cannot tell which one it took. */
export async function freeEndpoint(host = '127.0.0.1'): Promise<Endpoint> {
  const server = net.createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new TypeError('Cannot find a port');
  return { host, port: address.port };
}

/** Ready when its admin port says that it is live: listeners are open then. */
export async function startEnvoy(options: {
  readonly binary: string;
  readonly name: string;
  readonly folder: string;
  readonly config: string;
  readonly admin: Endpoint;
}): Promise<RunningEnvoy> {
  const { binary, name, folder, config, admin } = options;
  const configFile = join(folder, `envoy-${name}.json`);
  const logFile = join(folder, `envoy-${name}.log`);
  await writeFile(configFile, config, { mode: 0o600 });
  const log = openSync(logFile, 'w');
  const child = spawn(
    binary,
    ['-c', configFile, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'],
    { stdio: ['ignore', log, log] },
  );
  closeSync(log);
  const running = {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: () => end(child),
  };
  try {
    const until = performance.now() + READY_MS;
    while (!(await isLive(admin))) {
      if (child.exitCode !== null || performance.now() > until) {
        throw new Error(`Cannot start Envoy: ${readFileSync(logFile, 'utf8').slice(0, 2_000)}`);
      }
      await delay(POLL_MS);
    }
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
  return running;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function isLive({ host, port }: Endpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path: '/ready', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('error', () => resolve(false));
  });
}
