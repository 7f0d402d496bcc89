import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from '@swc/core';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Files that git knows or would know, relative to the root. */
export function projectFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  return listed.split('\n').filter((file) => file !== '');
}

export interface Import {
  readonly from: string;
  /** A file relative to the root, or a package's name. */
  readonly to: string;
  readonly isPackage: boolean;
}

/** Every import of a file, those of types and dynamic ones with a constant name included. */
export function importsOf(file: string): Import[] {
  const source = readFileSync(path.join(root, file), 'utf8');
  const found: string[] = [];
  collect(parseSync(source, { syntax: 'typescript' }), found);
  return found.map((specifier) => {
    const isPackage = !specifier.startsWith('.');
    const to = isPackage ? packageName(specifier) : path.join(path.dirname(file), specifier);
    return { from: file, to, isPackage };
  });
}

function collect(node: unknown, found: string[]): void {
  if (Array.isArray(node)) {
    for (const item of node) collect(item, found);
  } else if (typeof node === 'object' && node !== null) {
    const { type, source, callee, arguments: args } = node as Record<string, unknown>;
    const declares =
      type === 'ImportDeclaration' || type === 'ExportNamedDeclaration' || type === 'ExportAllDeclaration';
    if (declares) pushValue(source, found);
    if (type === 'CallExpression' && (callee as { type?: string }).type === 'Import' && Array.isArray(args))
      pushValue(args[0]?.expression, found);
    for (const value of Object.values(node)) collect(value, found);
  }
}

function pushValue(literal: unknown, found: string[]): void {
  if (typeof literal !== 'object' || literal === null || !('value' in literal)) return;
  if (typeof literal.value === 'string') found.push(literal.value);
}

function packageName(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
