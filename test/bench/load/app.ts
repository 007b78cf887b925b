// The application behind the proxies, in a process of its own: answers of a fixed size over raw sockets, so that it costs next to nothing.
import net from 'node:net';
import { RequestReader } from './request-reader.ts';

/** Body size by path. */
export const ANSWER_BYTES: ReadonlyMap<string, number> = new Map([
  ['/100b', 100],
  ['/1k', 1_024],
  ['/64k', 65_536],
  ['/10m', 10_000_000],
  ['/upload', 0],
]);

const answerOf = (bytes: number): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`,
  );
const answers = new Map([...ANSWER_BYTES].map(([path, bytes]) => [path, answerOf(bytes)]));
const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');

function serve(socket: net.Socket): void {
  const reader = new RequestReader((path) => socket.write(answers.get(path) ?? NOT_FOUND));
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (part: Buffer) => reader.read(part));
}

if (import.meta.main) {
  const server = net.createServer(serve);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 }, () =>
    process.send?.(server.address()),
  );
  // Its parent's end is its own.
  process.on('disconnect', () => process.exit(0));
}
