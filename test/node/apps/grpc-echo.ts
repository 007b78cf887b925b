// A gRPC application for Pods: echoes single messages and streams, and answers health checks.
import { hostname } from 'node:os';
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { ECHO, HEALTH } from './echo-service.ts';

// PORT; LAME_DUCK_MS: goes on for so long after SIGTERM.
const { PORT = '9090', LAME_DUCK_MS = '0' } = process.env;
const SERVING = Buffer.from([8, 1]);

const server = new Server();
server.addService(ECHO, {
  unary(call: ServerUnaryCall<string, string>, answer: sendUnaryData<string>) {
    answer(null, `${hostname()} ${call.request}`);
  },
  chat(call: ServerDuplexStream<string, string>) {
    call.on('data', (message: string) => call.write(`${hostname()} ${message}`));
    call.on('end', () => call.end());
    call.on('error', () => call.destroy());
  },
});
server.addService(HEALTH, {
  check(_call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) {
    answer(null, SERVING);
  },
});
server.bindAsync(`[::]:${PORT}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write(`grpc-echo listens on ${PORT}\n`);
});
process.on('SIGTERM', () => {
  setTimeout(() => server.tryShutdown(() => process.exit(0)), Number(LAME_DUCK_MS));
});
