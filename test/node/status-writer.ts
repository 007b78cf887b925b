// Writes the status of one Pod, the newest only, until the API server has it.
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@weft/kube/kube-api';
import { PODS } from '@weft/kube/resource';
import type { Meta } from './pod.ts';
import type { PodStatus } from './pod-status.ts';

const RETRY_MS = 200;

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly pod: Meta;
  readonly onProblem: (text: string) => void;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  #wanted: PodStatus | undefined;
  #written = '';
  #writing: Promise<void> | undefined;
  #isOver = false;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  write(status: PodStatus): void {
    this.#wanted = status;
    this.#writing ??= this.#writeAll();
  }

  /** @returns when the last one written so far has arrived, or nothing more is to be written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** The Pod is gone. */
  end(): void {
    this.#isOver = true;
  }

  async #writeAll(): Promise<void> {
    // What is set below when there is nothing to write is not to come before the promise itself.
    await Promise.resolve();
    while (this.#wanted !== undefined && !this.#isOver) {
      const status = this.#wanted;
      const text = JSON.stringify(status);
      if (text === this.#written || (await this.#writeOne(status))) this.#written = text;
      else await delay(RETRY_MS, undefined, { ref: false });
      if (this.#wanted === status && this.#written === text) this.#wanted = undefined;
    }
    // In the same breath as the last look: nothing comes between.
    this.#writing = undefined;
  }

  async #writeOne(status: PodStatus): Promise<boolean> {
    const { client, pod, onProblem } = this.#options;
    const { name, namespace, uid } = pod;
    const answer = await client.patch(
      PODS,
      { namespace, name },
      { type: 'merge', subresource: 'status', patch: { metadata: { uid }, status } },
    );
    if (answer.ok || answer.kind !== 'status') return answer.ok;
    // Another Pod of this name has another uid: that is a conflict.
    if (answer.code === 404 || answer.code === 409) this.end();
    else onProblem(answer.message);
    return false;
  }
}
