// Writes test results as JUnit XML, which every CI system shows.

export interface JUnitCase {
  readonly name: string;
  /** Absent: it passed. */
  readonly failure?: { readonly message: string; readonly details: string };
}

export interface JUnitSuite {
  readonly name: string;
  readonly cases: readonly JUnitCase[];
}

export function formatJUnit(suites: readonly JUnitSuite[]): string {
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="weft policy test">'];
  for (const { name, cases } of suites) {
    const failures = cases.filter(({ failure }) => failure !== undefined).length;
    lines.push(
      `  <testsuite name="${escape(name)}" tests="${cases.length}" failures="${failures}" errors="0">`,
    );
    for (const { name: caseName, failure } of cases) {
      const open = `    <testcase classname="${escape(name)}" name="${escape(caseName)}"`;
      if (failure === undefined) lines.push(`${open}/>`);
      else {
        const { message, details } = failure;
        lines.push(
          `${open}>`,
          `      <failure message="${escape(message)}">${escape(details)}</failure>`,
          '    </testcase>',
        );
      }
    }
    lines.push('  </testsuite>');
  }
  lines.push('</testsuites>', '');
  return lines.join('\n');
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&apos;'],
]);

/** Characters that XML 1.0 §2.2 does not have are replaced. */
function escape(text: string): string {
  let out = '';
  for (const char of text.toWellFormed()) {
    const code = char.codePointAt(0) ?? 0;
    const isControl = code < 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d;
    out +=
      isControl || code === 0xfffe || code === 0xffff ? '\u{fffd}' : (ENTITIES.get(char) ?? char);
  }
  return out;
}
