// Tells Envoys that have an agent beside them from other proxies, and shows them their views with the certificate of that agent.
import { SECRETS_METADATA, withAgentSecrets } from '../resources/agent-secrets.ts';
import type { ProxyRef, ViewSource } from './view-source.ts';

interface AgentProxyRef extends ProxyRef {
  readonly secretsFrom: 'agent';
}

const hasAgent = (proxy: ProxyRef): proxy is AgentProxyRef => 'secretsFrom' in proxy;

/** What the node says of itself here is believed: it concerns nobody else, and takes nothing that it had not. */
export function withAgentViews(views: ViewSource): ViewSource {
  return {
    resolve(claim, identity) {
      const resolution = views.resolve(claim, identity);
      if (!resolution.ok || claim.metadata.get(SECRETS_METADATA) !== 'agent') return resolution;
      const proxy: AgentProxyRef = { ...resolution.proxy, secretsFrom: 'agent' };
      return { ok: true, proxy };
    },
    viewFor(proxy) {
      const view = views.viewFor(proxy);
      return hasAgent(proxy) ? withAgentSecrets(view) : view;
    },
    ...(views.servesType && { servesType: views.servesType.bind(views) }),
    subscribe: (listener) => views.subscribe(listener),
  };
}
