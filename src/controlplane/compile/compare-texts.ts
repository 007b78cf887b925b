// The order of texts by which everything compiled is sorted: that of their UTF-16 units, in every locale.
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
