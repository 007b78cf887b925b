import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openAdminServers } from './http-server.ts';
import { tokenDocuments } from './token-documents.ts';

const ask = (port: number, path: string): Promise<{ status: number | undefined; body: string }> =>
  new Promise((resolve, reject) => {
    const headers = { host: 'tokens.example.com' };
    const request = http.get({ host: '127.0.0.1', port, path, headers, agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (part: string) => (body += part));
      answer.on('end', () => resolve({ status: answer.statusCode, body }));
    });
    request.on('error', reject);
  });

test('the health port gives keys and discovery to everybody, by any name, and nothing else with them', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weft-admin-'));
  try {
    await using servers = await openAdminServers({
      health: { host: '127.0.0.1', port: 0 },
      socketPath: join(directory, 'admin.sock'),
      api: {
        isReady: () => ({ isReady: true, reasons: [] }),
        metrics: async () => '',
        documents: new Map([['/v1/status', () => ({})]]),
        actions: new Map(),
        published: tokenDocuments({ keys: () => [], issuer: 'https://tokens.example.com/mesh' }),
      },
    });
    const port = servers.addresses.health?.port ?? 0;
    const keys = await ask(port, '/keys');
    assert.deepEqual([keys.status, JSON.parse(keys.body)], [200, { keys: [] }]);
    const discovery = await ask(port, '/.well-known/openid-configuration');
    const { issuer, jwks_uri: keysAt } = JSON.parse(discovery.body) as Record<string, unknown>;
    assert.equal(issuer, 'https://tokens.example.com/mesh');
    assert.equal(keysAt, 'https://tokens.example.com/mesh/keys');
    assert.equal((await ask(port, '/v1/status')).status, 404);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('without an issuer there is no discovery, and there are keys', () => {
  const documents = tokenDocuments({ keys: () => [], issuer: undefined });
  assert.deepEqual([...documents.keys()], ['/keys']);
});
