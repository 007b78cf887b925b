// The demo's gRPC service: what an item costs. It knows nothing of the mesh.
import grpc from '@grpc/grpc-js';
import { PricesClient, type PriceReply } from './prices-proto.ts';

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const centsByItem = new Map([
  ['tea', 320],
  ['cup', 1150],
]);
const MAX_ITEMS = 1_000;

type Unary<Q> = grpc.handleUnaryCall<Q, PriceReply>;

const get: Unary<{ item: string }> = (call, callback) => {
  const { item } = call.request;
  const cents = centsByItem.get(item);
  if (cents === undefined) callback({ code: grpc.status.NOT_FOUND, details: `no item ${item}` });
  else callback(null, { item, cents });
};

const set: Unary<{ item: string; cents: number }> = (call, callback) => {
  const { item, cents } = call.request;
  if (centsByItem.size < MAX_ITEMS || centsByItem.has(item)) centsByItem.set(item, cents);
  callback(null, { item, cents });
};

const server = new grpc.Server();
server.addService(PricesClient.service, { Get: get, Set: set });
server.bindAsync(`${host}:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
