// A reporter beside the one that people read: one line for each test that was skipped.
import type { TestEvent } from 'node:test/reporters';

async function* skipped(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type === 'test:pass' && data.skip !== undefined) yield `${data.name}\n`;
  }
}

// The runner takes a module's default.
export { skipped as default };
