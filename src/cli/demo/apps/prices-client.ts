// Asks the demo's gRPC service, as any application would: plaintext to the address it was given.
import grpc from '@grpc/grpc-js';
import { PricesClient, type PriceReply } from './prices-proto.ts';

const DEADLINE_MS = 5_000;
const clients = new Map<string, grpc.Client>();

function clientOf(address: string): grpc.Client {
  let client = clients.get(address);
  if (client === undefined) {
    client = new PricesClient(address, grpc.credentials.createInsecure());
    clients.set(address, client);
  }
  return client;
}

/** @returns the price in cents; rejects with the gRPC error. */
export async function askPrice(address: string, item: string): Promise<number> {
  return (await callPrices(address, 'Get', { item })).cents;
}

/** Calls one of `shop.Prices`' methods. */
export function callPrices(
  address: string,
  method: 'Get' | 'Set',
  request: { readonly item: string; readonly cents?: number },
): Promise<PriceReply> {
  const definition = PricesClient.service[method];
  if (definition === undefined) throw new TypeError(`Cannot call Prices: no method ${method}`);
  return new Promise((resolve, reject) => {
    clientOf(address).makeUnaryRequest<unknown, PriceReply>(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      { deadline: Date.now() + DEADLINE_MS },
      (error, reply) => {
        if (error) reject(error);
        else if (reply) resolve(reply);
        else reject(new Error('Cannot read the price: an empty reply'));
      },
    );
  });
}

/** Closes every channel, so that a process can end. */
export function closePricesClients(): void {
  for (const client of clients.values()) client.close();
  clients.clear();
}
