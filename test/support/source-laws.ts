// Decides which rules of the house a source file breaks: what it may import, how long it is, what it must not contain.
import { posix } from 'node:path';

export interface SourceFile {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

export interface PackageLaw {
  readonly name: string;
  readonly dependencies: ReadonlySet<string>;
}

/** Longer files answer more than one question. */
export const LINES_MAX = 400;

const TEST_PACKAGES = new Set(['fast-check', 'node:test']);
/** The model computes: these two have pure functions (hashes, address syntax) and the laws below forbid the rest. */
const PURE_MODULES = new Set(['node:crypto', 'node:net']);
const PURE_NET_NAMES = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'SocketAddress']);
const PURE_FOLDERS = [
  'src/model/',
  'src/xds/protocol/',
  'src/xds/resources/',
  'src/controlplane/compile/problems/',
  'src/controlplane/resources/',
];
const SIDECAR_MUST_NOT_LOAD = ['node-forge', 'prom-client', '@kubernetes/', '@weft/ca', 'yaml'];

export const isTestFile = (path: string): boolean =>
  path.startsWith('test/') ||
  path.endsWith('.test.ts') ||
  path.includes('/testing/') ||
  path.endsWith('-rig.ts') ||
  path.endsWith('-cases.ts');

const isRegexAllowedAfter = (code: string): boolean => {
  const before = code.trimEnd();
  const last = before.at(-1);
  return (
    last === undefined ||
    '(,=:[!&|?{};>+-*%^~<'.includes(last) ||
    /\b(?:return|typeof|case|in|of|await)$/.test(before)
  );
};

interface Scanned {
  /** The text with comments, strings' insides and regular expressions blanked; line breaks kept. */
  readonly code: string;
  readonly comments: string;
}

/** Splits TypeScript into code and comments: enough of a scanner that a forbidden word in a string or a comment is no finding. */
export const scan = (text: string): Scanned => {
  let code = '';
  let comments = '';
  /** Depth of braces at which each open template's `${` began. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  const skipString = (quote: string): void => {
    code += text[at];
    at += 1;
    while (at < text.length) {
      const c = text[at];
      if (c === '\\') {
        at += 2;
        continue;
      }
      at += 1;
      if (c === quote) {
        code += quote;
        return;
      }
      if (c === '\n') code += '\n';
      if (quote === '`' && c === '$' && text[at] === '{') {
        code += '${';
        at += 1;
        templates.push(depth);
        depth += 1;
        return;
      }
    }
  };
  const skipRegex = (): void => {
    let isInClass = false;
    at += 1;
    while (at < text.length && text[at] !== '\n') {
      const c = text[at];
      at += c === '\\' ? 2 : 1;
      if (c === '[') isInClass = true;
      else if (c === ']') isInClass = false;
      else if (c === '/' && !isInClass) break;
    }
    code += '/re/';
  };
  const skipComment = (end: string): void => {
    const found = text.indexOf(end, at + 2);
    const stop = found === -1 ? text.length : found + (end === '\n' ? 0 : end.length);
    const comment = text.slice(at, stop);
    comments += `${comment}\n`;
    code += comment.replace(/[^\n]/g, '');
    at = stop;
  };
  while (at < text.length) {
    const c = text[at] ?? '';
    const next = text[at + 1];
    if (c === '/' && next === '/') skipComment('\n');
    else if (c === '/' && next === '*') skipComment('*/');
    else if (c === "'" || c === '"' || c === '`') skipString(c);
    else if (c === '/' && isRegexAllowedAfter(code)) skipRegex();
    else if (c === '}' && templates.at(-1) === depth - 1) {
      templates.pop();
      depth -= 1;
      skipString('`');
    } else {
      if (c === '{') depth += 1;
      if (c === '}') depth -= 1;
      code += c;
      at += 1;
    }
  }
  return { code, comments };
};

export interface Import {
  readonly specifier: string;
  /** What stands between `import` and `from`; undefined for a dynamic or a bare import. */
  readonly names: string | undefined;
  readonly isType: boolean;
  readonly isDynamic: boolean;
}

const STATIC_IMPORT =
  /^[ \t]*(?:import|export)\s+(type\s+)?((?:\*(?:\s+as\s+\w+)?|\{[^}]*\}|\w+(?:\s*,\s*\{[^}]*\})?)\s+from\s+)?'([^']+)'/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*'([^']+)'\s*\)/g;

export const importsOf = (text: string): readonly Import[] => [
  ...[...text.matchAll(STATIC_IMPORT)].map(([, type, names, specifier = '']) => ({
    specifier,
    names,
    isType: type !== undefined,
    isDynamic: false,
  })),
  ...[...text.matchAll(DYNAMIC_IMPORT)].map(([, specifier = '']) => ({
    specifier,
    names: undefined,
    isType: false,
    isDynamic: true,
  })),
];

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** The repository path an import leads to, when it is one of our own files. */
export const targetOf = (from: string, specifier: string): string | undefined => {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(from), specifier);
  if (specifier.startsWith('@weft/')) return `src/${specifier.slice('@weft/'.length)}.ts`;
  return undefined;
};

const folderOf = (path: string): string | undefined => /^(src\/[^/]+)\//.exec(path)?.[1];

const relativeImportFindings = (path: string, specifier: string): string[] => {
  const target = posix.join(posix.dirname(path), specifier);
  const findings: string[] = [];
  if (!/\.(?:ts|json)$/.test(specifier)) findings.push(`relative import without .ts: ${specifier}`);
  const folder = folderOf(path);
  if (folder !== undefined && !target.startsWith(`${folder}/`) && !isTestFile(path)) {
    findings.push(`leaves its package by a relative path: ${specifier}`);
  }
  if (!isTestFile(path) && isTestFile(target)) {
    findings.push(`product code imports test code: ${specifier}`);
  }
  return findings;
};

const pureFindings = (one: Import): string[] => {
  const { specifier, names = '' } = one;
  if (!specifier.startsWith('node:') || one.isType) return [];
  if (!PURE_MODULES.has(specifier)) return [`pure code imports ${specifier}`];
  if (specifier !== 'node:net') return [];
  return [...names.matchAll(/\w+/g)]
    .map(([name]) => name)
    .filter((name) => name !== 'from' && name !== 'type' && !PURE_NET_NAMES.has(name))
    .map((name) => `pure code imports ${name} of node:net`);
};

const packageImportFindings = (path: string, one: Import, law: PackageLaw): string[] => {
  const { specifier } = one;
  const name = packageOf(specifier);
  if (TEST_PACKAGES.has(name)) return [`product code imports ${name}`];
  if (specifier.startsWith('node:')) {
    return PURE_FOLDERS.some((folder) => path.startsWith(folder)) ? pureFindings(one) : [];
  }
  const findings: string[] = [];
  if (name !== law.name && !law.dependencies.has(name)) {
    findings.push(`imports ${name}, which ${law.name}'s package.json does not allow`);
  }
  if (
    law.name === '@weft/dataplane' &&
    SIDECAR_MUST_NOT_LOAD.some((banned) => specifier === banned || specifier.startsWith(banned))
  ) {
    findings.push(`the sidecar must not load ${specifier}`);
  }
  if (specifier.startsWith(`${law.name}/`)) {
    findings.push(`imports its own package by name: ${specifier}`);
  }
  return findings;
};

/** What this file imports although its package's law forbids it. Test files may import any package: they are never shipped. */
export const importFindings = (file: SourceFile, law: PackageLaw | undefined): string[] =>
  importsOf(file.text).flatMap((one) => {
    if (one.specifier.startsWith('.')) return relativeImportFindings(file.path, one.specifier);
    if (law === undefined || isTestFile(file.path)) return [];
    return packageImportFindings(file.path, one, law);
  });

interface Ban {
  readonly pattern: RegExp;
  readonly why: string;
  readonly isForTestsToo: boolean;
  /** The one file that has a reason. */
  readonly except?: readonly string[];
}

const BANS: readonly Ban[] = [
  { pattern: /\bexport\s+default\b/, why: 'default export', isForTestsToo: true },
  {
    // Only as a type: `any` is also a fine name for a value. The linter holds the rest of this rule.
    pattern:
      /\bas\s+any\b|<\s*any\b|,\s*any\s*>|\bany\[\]|\)\s*:\s*any\b|(?:\(|\b(?:const|let|readonly)\s)\s*\w+\??:\s*any\b/,
    why: 'any',
    isForTestsToo: true,
  },
  { pattern: /\bas\s+unknown\s+as\b/, why: 'as unknown as', isForTestsToo: true },
  { pattern: /\bnew\s+Function\b|\beval\s*\(/, why: 'code made from text', isForTestsToo: true },
  { pattern: /\bcatch\s*(?:\(\w+\)\s*)?\{\s*\}/, why: 'swallowed error', isForTestsToo: false },
  { pattern: /\binsecureHTTPParser\b/, why: 'lenient HTTP parser', isForTestsToo: true },
  {
    pattern: /\brejectUnauthorized:\s*false\b/,
    why: 'unverified TLS',
    isForTestsToo: false,
    // The kubelet verifies nobody when it probes over HTTPS, and this file probes in its stead.
    // A client outside the mesh may need none; who showed one that is not verified is refused by why.
    except: [
      'src/dataplane/probe/unverified-https.ts',
      'src/dataplane/tls/termination/acceptor.ts',
    ],
  },
  {
    pattern: /\b(?:SNICallback|ALPNCallback|pskCallback)\b/,
    why: 'TLS callback',
    isForTestsToo: false,
  },
  { pattern: /\.subjectaltname\b/, why: 'subject names read from text', isForTestsToo: false },
];

const COMMENT_BANS: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /@ts-(?:ignore|nocheck|expect-error)/, why: 'silenced compiler' },
  { pattern: /\b(?:TODO|FIXME|XXX)\b/, why: 'note to self' },
];

/** Folders that handle bytes of peers, where a regular expression built at run time or a URL parser would meet them. */
const PEER_FOLDERS = ['src/dataplane/', 'src/model/', 'src/xds/', 'src/ca/'];
const PEER_BANS: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /\bnew\s+RegExp\b|\bRegExp\(/, why: 'regular expression made at run time' },
  { pattern: /\bnew\s+URL\((?!.*import\.meta\.url)|\bURL\.parse\(/, why: 'URL parser' },
];

export const textFindings = (file: SourceFile): string[] => {
  const { code, comments } = scan(file.text);
  const isTest = isTestFile(file.path);
  const findings: string[] = [];
  const lines = file.text.split('\n').length - 1;
  if (lines > LINES_MAX) findings.push(`${lines} lines, more than ${LINES_MAX}`);
  if (!isTest && !/^\/[/*]/.test(file.text)) {
    findings.push('does not open with a comment saying what it decides or owns');
  }
  const bans = [
    ...BANS.filter(
      (ban) => (ban.isForTestsToo || !isTest) && ban.except?.includes(file.path) !== true,
    ),
    ...(!isTest && PEER_FOLDERS.some((folder) => file.path.startsWith(folder)) ? PEER_BANS : []),
  ];
  for (const { pattern, why } of bans) if (pattern.test(code)) findings.push(why);
  for (const { pattern, why } of COMMENT_BANS) if (pattern.test(comments)) findings.push(why);
  return findings;
};

/** The first circle of imports through each file, as `a -> b -> a`; type-only imports do not count: they are gone at run time. */
export const cyclesOf = (files: readonly SourceFile[]): readonly string[] => {
  const known = new Set(files.map((file) => file.path));
  const edges = new Map(
    files.map((file) => [
      file.path,
      importsOf(file.text)
        .filter((one) => !one.isType && !one.isDynamic)
        .map((one) => targetOf(file.path, one.specifier))
        .filter((target) => target !== undefined && known.has(target)),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const from = trail.indexOf(path);
    if (from !== -1) {
      cycles.push([...trail.slice(from), path].join(' -> '));
      return;
    }
    if (done.has(path)) return;
    for (const target of edges.get(path) ?? []) if (target) walk(target, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) walk(path, []);
  return cycles;
};
