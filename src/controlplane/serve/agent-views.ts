// Tells Envoys that have an agent beside them from other proxies, and shows them their views in the form for them.
import type { MeshViews } from '../compile/mesh-views.ts';
import { agentFormOf, createAgentView } from '../resources/agent-view.ts';
import type { AgentForm } from '@weft/xds/agent-form';
import type { ProxyRef, ViewSource } from './view-source.ts';

interface AgentProxyRef extends ProxyRef {
  readonly agent: AgentForm;
}

const hasAgent = (proxy: ProxyRef): proxy is AgentProxyRef => 'agent' in proxy;

/** What the node says of itself here is believed: it concerns nobody else, and takes nothing that it had not. */
export function withAgentViews(views: ViewSource & Pick<MeshViews, 'mesh'>): ViewSource {
  return {
    resolve(claim, identity) {
      const resolution = views.resolve(claim, identity);
      const agent = agentFormOf(claim.metadata);
      if (!resolution.ok || agent === undefined) return resolution;
      const proxy: AgentProxyRef = { ...resolution.proxy, agent };
      return { ok: true, proxy };
    },
    viewFor(proxy) {
      const view = views.viewFor(proxy);
      return hasAgent(proxy) ? createAgentView(view, proxy.agent, views.mesh()) : view;
    },
    ...(views.servesType && { servesType: views.servesType.bind(views) }),
    subscribe: (listener) => views.subscribe(listener),
  };
}
