// The demo's HTTP service: a shop front that asks a gRPC service for prices and a TCP service for stock. It knows nothing of the mesh.
import http from 'node:http';
import { askPrice } from './prices-client.ts';
import { askStock } from './stock-client.ts';

const [host = '127.0.0.1', port = '0', prices = '', stock = ''] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  request.resume();
  answer(path).then(
    (body) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(body)}\n`);
    },
    (error: unknown) => {
      response.writeHead(502, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify({ error: String(error) })}\n`);
    },
  );

  async function answer(target: string): Promise<unknown> {
    if (target === '/whoami') {
      return { service: 'web', caller: request.headers['x-forwarded-client-cert'] ?? 'unknown' };
    }
    if (target.startsWith('/item/')) {
      const item = target.slice('/item/'.length);
      const [price, inStock] = await Promise.all([askPrice(prices, item), askStock(stock, item)]);
      return { item, price, inStock };
    }
    return { service: 'web', path: target };
  }
});

server.listen(Number(port), host);
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
