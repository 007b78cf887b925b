// What to try while the demo stays up: commands that can be pasted.
import { HTTP_PROXY_PORT } from './layout.ts';
import type { DemoMesh } from './mesh.ts';

export function exploring(mesh: DemoMesh): string {
  const { admin } = mesh;
  const { addressOf } = mesh.layout;
  return `
It stays up until Ctrl-C. Things to try in another terminal:

  As prices, through its sidecar:
    curl -s http://${mesh.via('prices', 'web')}/item/tea
    curl -si http://${mesh.via('prices', 'web')}/admin              # refused by a policy
    curl -s -x http://${addressOf.prices}:${HTTP_PROXY_PORT} http://web.shop/whoami   # by the service's name

  As somebody outside the mesh:
    curl -s http://${mesh.front('web')}/healthz                # refused: no certificate
    openssl s_client -connect ${mesh.front('web')} -alpn weft-http/1.1 </dev/null

  Change what is allowed: edit and save
    ${mesh.folders.policies}

  Look inside:
    bin/weft status --admin ${admin.host}:${admin.port}
    bin/weft certs --admin ${addressOf.web}:15000
    bin/weft config-dump --admin ${addressOf.web}:15000
    bin/weft ca status --admin ${admin.host}:${admin.port}
    bin/weft policy check ${mesh.folders.manifests}
    bin/weft policy explain --from shop/stock --to shop/web --method GET --path /admin --admin ${admin.host}:${admin.port}
    bin/weft policy suggest shop --admin ${admin.host}:${admin.port}       # from the calls that were seen
    curl -s http://${addressOf.web}:15000/metrics | grep weft_requests_total
    tail -f ${mesh.folders.logs}/web.log
`;
}
