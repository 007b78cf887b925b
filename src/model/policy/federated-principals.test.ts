// Beside another trust domain, namespaces and accounts of policies are the mesh's own: theirs of the same name are somebody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpRequest, policyOf, tcpConnection } from '../../../test/support/policies.ts';
import { compilePolicies } from './compile.ts';
import { compileRbac } from './evaluate.ts';

const OURS = 'mesh.example/ns/shop/sa/web';
const FORMERLY = 'old.example/ns/shop/sa/web';
const THEIRS = 'partner.example/ns/shop/sa/web';

function isAllowed(rule: object, peer: string, protocol: 'http' | 'tcp', federated = true) {
  const policy = policyOf({ rules: [rule] }, 'allow');
  const chain = compilePolicies([policy], [], {
    trustDomain: 'mesh.example',
    trustDomainAliases: ['old.example'],
    ...(federated && { federatedTrustDomains: ['partner.example'] }),
    protocol,
  });
  const request = protocol === 'http' ? httpRequest({ peer }) : tcpConnection({ peer });
  return compileRbac(chain).decide(request).isAllowed;
}

const from = (source: object): object => ({ from: [{ source }] });

const ROWS: readonly (readonly [string, object, ours: boolean, theirs: boolean])[] = [
  ['namespaces', from({ namespaces: ['shop'] }), true, false],
  ['namespaces with a star', from({ namespaces: ['*'] }), true, false],
  ['notNamespaces', from({ notNamespaces: ['shop'] }), false, true],
  ['serviceAccounts', from({ serviceAccounts: ['shop/web'] }), true, false],
  ['source.namespace', { when: [{ key: 'source.namespace', values: ['shop'] }] }, true, false],
  ['their principal', from({ principals: [THEIRS] }), false, true],
  ['our principal', from({ principals: [OURS] }), true, false],
  ['our principal by its old name', from({ principals: [FORMERLY] }), true, false],
  ['cluster.local', from({ principals: ['cluster.local/ns/shop/sa/web'] }), true, false],
  ['trustDomains', from({ trustDomains: ['partner.example'] }), false, true],
  ['any principal', from({ principals: ['*'] }), true, true],
];
for (const [claim, rule, ours, theirs] of ROWS) {
  test(`${claim}: our callers ${ours ? 'match' : 'do not'}, those of a federated trust domain ${theirs ? 'match' : 'do not'}`, () => {
    for (const protocol of ['http', 'tcp'] as const) {
      assert.equal(isAllowed(rule, OURS, protocol), ours, protocol);
      assert.equal(isAllowed(rule, FORMERLY, protocol), ours, protocol);
      assert.equal(isAllowed(rule, THEIRS, protocol), theirs, protocol);
      assert.equal(isAllowed(rule, OURS, protocol, false), ours, protocol);
    }
  });
}
