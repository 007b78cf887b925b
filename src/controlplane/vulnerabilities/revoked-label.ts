// The mark of a Pod that has lost its identity: in snapshots alone, the cluster's objects stay as they are.

/** Whoever sets it on a Pod of theirs refuses it to others, and gives it nothing. */
export const REVOKED_LABEL = 'weft.dev/identity-revoked';

export const isRevoked = ({ labels }: { readonly labels: ReadonlyMap<string, string> }): boolean =>
  labels.get(REVOKED_LABEL) === 'true';
