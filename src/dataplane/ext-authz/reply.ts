// What came of asking an authorizer over HTTP, whichever version carried it.

export interface Reply {
  readonly status: number;
  /** Names in lower case, every value for itself. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  /** `grpc-status`, where it came behind the body. */
  readonly trailers: readonly (readonly [string, string])[];
}

export type Asked =
  | { readonly ok: true; readonly reply: Reply }
  | { readonly ok: false; readonly reasonCode: string };

/** An answer's body; what is longer is no answer to a question of yes or no. */
export const MAX_REPLY_BYTES = 65_536;

export const failed = (reasonCode: string): Asked => ({ ok: false, reasonCode });

/** The first value of a header or trailer. */
export const firstOf = (
  fields: readonly (readonly [string, string])[],
  name: string,
): string | undefined => fields.find(([key]) => key === name)?.[1];
