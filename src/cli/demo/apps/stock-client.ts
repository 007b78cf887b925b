// Asks the demo's TCP service, as any application would: a plain socket to the address it was given.
import net from 'node:net';

const TIMEOUT_MS = 5_000;

/** @returns how many are left; rejects when the connection is refused, cut or silent. */
export function askStock(address: string, item: string): Promise<number> {
  const colon = address.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = net.connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(TIMEOUT_MS, () =>
      fail(new Error(`stock did not answer in ${TIMEOUT_MS} ms`)),
    );
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${item}\n`));
    socket.on('data', (part: string) => {
      text += part;
      const [greeting, answer, ...more] = text.split('\n');
      if (greeting === undefined || answer === undefined || more.length === 0) return;
      socket.end();
      resolve(Number(answer.slice(answer.lastIndexOf(' ') + 1)));
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('stock closed the connection before it answered')));
  });
}
