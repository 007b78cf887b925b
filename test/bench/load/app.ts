// The application behind the proxies, in a process of its own: answers of a fixed size over raw sockets, so that it costs next to nothing.
import net from 'node:net';

/** Body size by path. */
export const ANSWER_BYTES: ReadonlyMap<string, number> = new Map([
  ['/100b', 100],
  ['/1k', 1_024],
  ['/64k', 65_536],
]);

const answerOf = (bytes: number): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`,
  );
const answers = new Map([...ANSWER_BYTES].map(([path, bytes]) => [path, answerOf(bytes)]));
const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
const HEAD_END = '\r\n\r\n';

function serve(socket: net.Socket): void {
  let rest = '';
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (part: Buffer) => {
    rest += part.toString('latin1');
    for (let end = rest.indexOf(HEAD_END); end !== -1; end = rest.indexOf(HEAD_END)) {
      const start = rest.indexOf(' ') + 1;
      const path = rest.slice(start, rest.indexOf(' ', start));
      rest = rest.slice(end + HEAD_END.length);
      socket.write(answers.get(path) ?? NOT_FOUND);
    }
  });
}

if (import.meta.main) {
  const server = net.createServer(serve);
  server.listen(0, '127.0.0.1', () => process.send?.(server.address()));
  // Its parent's end is its own.
  process.on('disconnect', () => process.exit(0));
}
