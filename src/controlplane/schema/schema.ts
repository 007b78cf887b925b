// The parts that schemas of Weft's kinds are made of: JSON Schema as far as the API server takes it, with rules in CEL.

export interface Schema {
  /** Absent where a value may be a number or a text. */
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly format?: 'date-time' | 'int64' | 'int32';
  readonly nullable?: true;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-int-or-string'?: true;
  readonly 'x-kubernetes-list-type'?: 'map' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
}

/** A rule in CEL: what is refused, and what is then said. Never more than what the parser refuses as well. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
}

type Bounds = Omit<Schema, 'type' | 'properties' | 'items' | 'additionalProperties'>;

/** Characters of one text: the parser's bound (reader.ts). */
export const MAX_TEXT = 8_192;
/** The parsers' bound of labels. */
const MAX_LABELS = 4_096;
/** Kubernetes' own. */
const MAX_LABEL_VALUE = 63;

export const text = (description: string, bounds: Bounds = {}): Schema => ({
  description,
  type: 'string',
  maxLength: MAX_TEXT,
  ...bounds,
});

export const choice = (
  description: string,
  of: readonly string[],
  bounds: Bounds = {},
): Schema => ({
  description,
  type: 'string',
  enum: of,
  ...bounds,
});

export const list = (description: string, items: Schema, bounds: Bounds = {}): Schema => ({
  description,
  type: 'array',
  items,
  ...bounds,
});

/** A list of texts, none of them empty. */
export const texts = (description: string, maxItems: number, bounds: Bounds = {}): Schema =>
  list(description, { type: 'string', minLength: 1, maxLength: MAX_TEXT, ...bounds }, { maxItems });

/**
 * A mapping whose unknown fields the API server keeps, and does not drop: the parser must see a misspelt field to
 * refuse it. Dropped, `principal` for `principals` would have an ALLOW rule let everybody in.
 */
export const open = (
  description: string,
  properties: Readonly<Record<string, Schema>>,
  bounds: Bounds = {},
): Schema => ({
  description,
  type: 'object',
  properties,
  'x-kubernetes-preserve-unknown-fields': true,
  ...bounds,
});

/** What Weft itself writes: nothing else is kept in it. */
export const closed = (
  description: string,
  properties: Readonly<Record<string, Schema>>,
  bounds: Bounds = {},
): Schema => ({ description, type: 'object', properties, ...bounds });

export const selector = (description: string): Schema =>
  open(description, {
    matchLabels: {
      description: 'Labels that a Pod must have, exactly and all of them. Wildcards are refused.',
      type: 'object',
      maxProperties: MAX_LABELS,
      additionalProperties: { type: 'string', maxLength: MAX_LABEL_VALUE },
    },
  });
