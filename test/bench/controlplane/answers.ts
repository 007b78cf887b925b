// Asks a process over HTTP all the time, each time over a new connection, and keeps how long the slowest answer took.
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** 20 ms between an answer and the next question: often enough to meet every long turn of an event loop. */
const PAUSE_MS = 20;
const ANSWER_MS = 30_000;

export interface AnswerWatch {
  /** @returns the slowest answer since the start, ms. */
  stop(): Promise<number>;
}

export function watchAnswers(address: string, path: string): AnswerWatch {
  const ending = new AbortController();
  const asking = askUntil(ending.signal, `http://${address}${path}`);
  return {
    stop() {
      ending.abort();
      return asking;
    },
  };
}

async function askUntil(signal: AbortSignal, url: string): Promise<number> {
  let slowestMs = 0;
  do {
    const startedAt = performance.now();
    await ask(url);
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    await delay(PAUSE_MS);
  } while (!signal.aborted);
  return slowestMs;
}

/** @throws Error when the answer is not 200 or takes longer than `ANSWER_MS` */
function ask(url: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const signal = AbortSignal.timeout(ANSWER_MS);
  const request = http.get(url, { agent: false, signal }, (response) => {
    response.resume();
    response.once('end', () => {
      if (response.statusCode === 200) resolve();
      else reject(new Error(`Cannot go on: ${url} answered ${response.statusCode}`));
    });
  });
  request.once('error', reject);
  return promise;
}
