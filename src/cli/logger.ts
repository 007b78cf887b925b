// Makes the daemons' logger: JSON lines on standard error, or coloured lines for people.
import { Option, type Command } from 'commander';
import { pino, type Logger } from 'pino';

export interface LogFlags {
  readonly logLevel: string;
  readonly logPretty?: boolean;
}

export const addLogOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .option('--log-pretty', 'for people instead of machines');

export async function createLogger(name: string, flags: LogFlags): Promise<Logger> {
  const options = { name, level: flags.logLevel, timestamp: pino.stdTimeFunctions.isoTime };
  if (flags.logPretty !== true) return pino(options, pino.destination({ dest: 2, sync: true }));
  const { default: pretty } = await import('pino-pretty');
  return pino(options, pretty({ destination: 2, sync: true, ignore: 'pid,hostname' }));
}
