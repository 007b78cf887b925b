// The demo's gRPC contract, loaded once for its server and its client.
import { join } from 'node:path';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const definition = loadSync(join(import.meta.dirname, 'shop.proto'), { keepCase: true });
const loaded = grpc.loadPackageDefinition(definition)['shop'];
if (loaded === undefined || !('Prices' in loaded)) {
  throw new TypeError('Cannot load shop.proto: it has no service shop.Prices');
}
const service = loaded['Prices'];
if (typeof service !== 'function')
  throw new TypeError('Cannot load shop.proto: Prices is no service');

export interface PriceReply {
  readonly item: string;
  readonly cents: number;
}

export const PricesClient: grpc.ServiceClientConstructor = service;
