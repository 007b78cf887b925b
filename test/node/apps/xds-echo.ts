// A gRPC application for Pods that takes its credentials and rules by xDS: it answers with the identity of its caller.
import { type sendUnaryData, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import { register, XdsServer, XdsServerCredentials } from '@grpc/grpc-js-xds';
import { ECHO } from './echo-service.ts';

// PORT.
const { PORT = '8080' } = process.env;

register();
const server = new XdsServer();
server.addService(
  { unary: ECHO.unary },
  {
    unary(call: ServerUnaryCall<string, string>, answer: sendUnaryData<string>) {
      answer(null, call.getAuthContext().sslPeerCertificate?.subjectaltname ?? 'nobody');
    },
  },
);
const own = new XdsServerCredentials(ServerCredentials.createInsecure());
server.bindAsync(`[::]:${PORT}`, own, (error) => {
  if (error !== null) throw error;
  process.stdout.write(`xds-echo listens on ${PORT}\n`);
});
process.on('SIGTERM', () => process.exit(0));
