// What the rules of a policy are called in rule sets, logs and answers.
export interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** What all names of a policy's rules begin with. */
export const ruleNamePrefix = ({ namespace, name }: Named): string =>
  `ns[${namespace}]-policy[${name}]-`;

export const ruleName = (policy: Named, rule: number | 'none' | 'invalid'): string =>
  ruleNamePrefix(policy) + (rule === 'invalid' ? rule : `rule[${rule}]`);
