// Which kinds are policies: what every list of them and every check begins with.
export const POLICY_KINDS = [
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'CredentialBinding',
  'BasicAuthentication',
  'TlsTermination',
  'TrafficPolicy',
] as const;
