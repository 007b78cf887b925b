// Calls others from inside a Pod, once or all the time, and tells each answer as a line of JSON.
import { setTimeout as delay } from 'node:timers/promises';
import { call, type CallKind, hangUp, isCallKind } from './calls.ts';

// `idle`: waits to be entered; `once KIND TARGET [TEXT]`; `loop EVERY_MS KIND TARGET [TEXT]`: until SIGTERM.
const [verb = 'idle', ...rest] = process.argv.slice(2);
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());

const tell = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const kindOf = (text = ''): CallKind => {
  if (isCallKind(text)) return text;
  throw new TypeError(`Cannot call: ${text} is no kind of call`);
};

async function loop(everyMs: number, kind: CallKind, target: string, text?: string): Promise<void> {
  let good = 0;
  let bad = 0;
  while (!stop.signal.aborted) {
    const end = await call(kind, target, text);
    if (end.isOk) good++;
    else bad++;
    tell(end);
    await delay(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
  }
  hangUp();
  tell({ good, bad });
}

if (verb === 'once') {
  const [kind, target = '', text] = rest;
  tell(await call(kindOf(kind), target, text));
  hangUp();
} else if (verb === 'loop') {
  const [everyMs = '100', kind, target = '', text] = rest;
  await loop(Number(everyMs), kindOf(kind), target, text);
} else {
  const forever = setInterval(() => undefined, 60_000);
  stop.signal.addEventListener('abort', () => clearInterval(forever));
}
