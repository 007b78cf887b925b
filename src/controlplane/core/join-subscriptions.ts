// Several subscriptions that end together.

export function joinSubscriptions(...all: readonly Disposable[]): Disposable {
  const stack = new DisposableStack();
  for (const one of all) stack.use(one);
  return stack;
}
