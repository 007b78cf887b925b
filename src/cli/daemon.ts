// What every daemon does alike: one ready line on standard output, and a clean end on SIGTERM and SIGINT.
import type { Logger } from 'pino';

/** The line that says that the daemon serves, and where: one JSON object. */
export function printReady(fields: object): void {
  process.stdout.write(`${JSON.stringify({ ready: true, ...fields })}\n`);
}

/** A second signal does not wait: the operator has lost patience. */
export function onStop(log: Logger, stop: (signal: NodeJS.Signals) => Promise<number>): void {
  let isStopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      isStopping = true;
      log.info({ signal }, 'stopping');
      stop(signal).then(
        (code) => process.exit(code),
        (error: unknown) => {
          log.error({ error: String(error) }, 'could not stop cleanly');
          process.exit(1);
        },
      );
    });
  }
}

/**
 * A fault of the program: said once, with where it was, and then the process ends.
 * @param before ends what must not outlive it.
 */
export function failLoudly(log: Logger, before?: () => void): void {
  const fail = (error: unknown): void => {
    log.fatal({ err: error }, 'unexpected failure');
    before?.();
    process.exit(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
}
