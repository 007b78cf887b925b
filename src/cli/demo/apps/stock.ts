// The demo's raw TCP service: a line protocol that greets first, then answers each item name with how many are left.
import net from 'node:net';

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const countByItem = new Map([
  ['tea', 41],
  ['cup', 7],
]);
/** A longer line is no item's name. */
const MAX_LINE = 256;

const server = net.createServer((socket) => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.write('STOCK ready\n');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) socket.destroy();
    for (const line of lines) socket.write(`${line} ${countByItem.get(line.trim()) ?? 0}\n`);
  });
  socket.on('error', () => socket.destroy());
});
server.listen(Number(port), host);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
