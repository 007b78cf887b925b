// Owns one Envoy from its start to its end: what it writes is taken line by line, and it does not outlive the agent.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface EnvoyProcessOptions {
  /**
   * What runs a program so that it ends with us, whatever becomes of us: the program and its arguments follow, and our
   * process id comes before them.
   */
  readonly guard: readonly string[];
  readonly binary: string;
  readonly args: readonly string[];
  /** Its working directory. */
  readonly folder: string;
  readonly onLine: (line: string) => void;
  readonly onExit: (how: string) => void;
}

/** 64 KiB; what is longer is cut there. */
const MAX_LINE_BYTES = 65_536;

export class EnvoyProcess {
  readonly #child: ChildProcess;
  readonly #ended = Promise.withResolvers<void>();
  #hasEnded = false;

  constructor({ guard, binary, args, folder, onLine, onExit }: EnvoyProcessOptions) {
    const [command = '', ...words] = guard;
    this.#child = spawn(command, [...words, String(process.pid), binary, ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      /** A signal to our group is for us: it is drained first. */
      detached: true,
    });
    const { stdout, stderr } = this.#child;
    if (stdout !== null) readLines(stdout, onLine);
    if (stderr !== null) readLines(stderr, onLine);
    const end = (how: string): void => {
      if (this.#hasEnded) return;
      this.#hasEnded = true;
      onExit(how);
      this.#ended.resolve();
    };
    this.#child.once('error', (error) => end(error.message));
    this.#child.once('close', (code, signal) =>
      end(signal === null ? `status ${code}` : `signal ${signal}`),
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    if (!this.#hasEnded) this.#child.kill(name);
  }

  /** SIGTERM, and SIGKILL when it takes longer. */
  async stop(withinMs: number): Promise<void> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), withinMs);
    await this.#ended.promise;
    clearTimeout(timer);
  }
}

function readLines(stream: Readable, take: (line: string) => void): void {
  let rest = '';
  let isCut = false;
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!isCut) take(line);
      isCut = false;
    }
    if (rest.length <= MAX_LINE_BYTES) return;
    if (!isCut) take(rest.slice(0, MAX_LINE_BYTES));
    isCut = true;
    rest = '';
  });
  stream.on('end', () => {
    if (!isCut && rest !== '') take(rest);
  });
}
