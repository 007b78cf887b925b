// A TCP application for Pods: sends back what it gets, after a greeting when it is to speak first.
import { createServer } from 'node:net';

// PORT; GREETING: the server speaks first.
const { PORT = '9000', GREETING } = process.env;

const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  if (GREETING !== undefined) socket.write(`${GREETING}\n`);
  socket.pipe(socket);
});
server.listen(Number(PORT), () => process.stdout.write(`tcp-echo listens on ${PORT}\n`));
process.on('SIGTERM', () => process.exit(0));
