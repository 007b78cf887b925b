// What a control plane in a cluster is told at its start.
import type { KubeClient } from '@weft/kube/kube-api';
import type { Membership } from '../compile/mesh-settings.ts';
import type { CoreOptions, ListenAddress } from '../core/open-core.ts';
import type { RegistriesConfig } from '../images/registries-config.ts';
import type { InjectionSettings } from '../inject/settings.ts';

/** `weft-NAME` is the configuration of each. */
export const WEBHOOK_NAMES = ['injector', 'validator', 'workloads'] as const;
export type WebhookName = (typeof WEBHOOK_NAMES)[number];

export interface KubernetesControlPlaneOptions extends CoreOptions {
  readonly client: KubeClient;
  /** Of the mesh; absent: the whole cluster. */
  readonly namespaces?: readonly string[];
  /** Secret in the root namespace with an issuing CA that somebody else keeps; absent: the CA is our own. */
  readonly caSecret?: string;
  /** The admin socket and join tokens; nothing in it outlives the Pod. */
  readonly stateDir: string;
  /** Its name among the replicas. */
  readonly podName: string;
  /** Where the API server asks for reviews; absent: nothing is injected or reviewed. */
  readonly webhook?: ListenAddress;
  /** Which of them are installed, so that their caBundle is kept; default all. */
  readonly webhooks?: readonly WebhookName[];
  readonly injection: InjectionSettings;
  /** How registries of images are reached; default: without logins, public ones alone. */
  readonly registries?: RegistriesConfig;
  readonly random?: () => number;
  /** Ends the wait for the API server at the start. */
  readonly signal?: AbortSignal;
}

/** A Pod that has no sidecar is spoken to in plain text. */
export const MEMBERSHIP: Membership = 'injected';
