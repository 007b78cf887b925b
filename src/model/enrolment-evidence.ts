// What a workload brings to its first enrolment to prove who it is.

export type Evidence =
  | { readonly kind: 'join-token'; readonly token: string }
  | {
      readonly kind: 'service-account-token';
      /** Bound to the Pod; the kubelet replaces it before it ends. */
      readonly token: string;
      /** The Pod that the proxy says it is in. */
      readonly pod: string;
      readonly namespace: string;
    };
