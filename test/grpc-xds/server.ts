// A gRPC server as anybody writes one with grpc-js, with its configuration by xDS: it answers two methods, and says a JSON object a line.
import { parseArgs } from 'node:util';
import { type sendUnaryData, type ServerUnaryCall, ServerCredentials } from '@grpc/grpc-js';
import { register, XdsServer, XdsServerCredentials } from '@grpc/grpc-js-xds';

const { values } = parseArgs({
  options: { listen: { type: 'string' }, name: { type: 'string' } },
});
const { listen = '', name = '' } = values;
const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
/** `google.protobuf.StringValue`, shorter than 128 bytes. */
const encode = (text: string): Buffer =>
  Buffer.concat([Buffer.of(10, text.length), Buffer.from(text)]);
/** What is falsy would be no message to the library. */
const decode = (bytes: Buffer): object => ({ bytes });

const PREFIX = 'URI:';
function answer(call: ServerUnaryCall<object, string>, done: sendUnaryData<string>): void {
  const names = call.getAuthContext().sslPeerCertificate?.subjectaltname ?? '';
  done(null, `${name} ${names.startsWith(PREFIX) ? names.slice(PREFIX.length) : ''}`);
}

register();
const server = new XdsServer();
const method = (path: string) => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: () => Buffer.alloc(0),
  requestDeserialize: decode,
  responseSerialize: encode,
  responseDeserialize: String,
});
const service = { Say: method('/weft.test.Echo/Say'), Other: method('/weft.test.Echo/Other') };
server.addService(service, { Say: answer, Other: answer });
const credentials = new XdsServerCredentials(ServerCredentials.createInsecure());
server.bindAsync(listen, credentials, (error) => {
  if (error !== null) throw error;
  say({ address: listen });
  say({ mode: 'SERVING' });
});
