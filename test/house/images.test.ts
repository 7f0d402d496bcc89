import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { root } from './sources.ts';

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

interface Service {
  readonly ports?: readonly string[];
  readonly command?: string | readonly string[];
  readonly networks?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly healthcheck?: object;
  readonly build?: { readonly target: string };
}

const { services } = parse(read('docker-compose.yml')) as { services: Record<string, Service> };
const stages = read('Dockerfile')
  .split(/^(?=FROM )/m)
  .filter((stage) => stage.startsWith('FROM '))
  .map((text) => ({ name: / AS (\w+)/.exec(text)?.[1] ?? '', text }));
const stageOf = (target: string | undefined) => stages.find(({ name }) => name === target)?.text ?? '';

describe('docker-compose.yml', () => {
  it('keeps every port on loopback, and Redis from forgetting', () => {
    expect(Object.keys(services).sort()).toEqual(['board', 'mongo', 'opencode', 'redis', 'worker']);
    for (const { ports = [] } of Object.values(services))
      expect(ports.every((port) => port.startsWith('127.0.0.1:'))).toBe(true);
    expect(services.redis?.command).toMatch(/appendonly yes .*maxmemory-policy noeviction/);
  });

  it('knows when each of them is healthy', () => {
    const checked = ({ healthcheck, build }: Service) =>
      healthcheck !== undefined || stageOf(build?.target).includes('HEALTHCHECK');
    expect(Object.entries(services).filter(([, service]) => !checked(service))).toEqual([]);
  });

  it('keeps what agents start away from Redis and MongoDB', () => {
    const networksOf = (name: string) => services[name]?.networks ?? ['default'];
    for (const store of ['redis', 'mongo'])
      expect(networksOf('opencode').filter((network) => networksOf(store).includes(network))).toEqual([]);
    expect(networksOf('worker')).toEqual(
      expect.arrayContaining([...networksOf('redis'), ...networksOf('opencode')]),
    );
  });

  it('starts nothing without a password', () => {
    expect(services.redis?.environment?.REDIS_PASSWORD).toMatch(/^\$\{REDIS_PASSWORD:\?/);
    expect(services.mongo?.environment?.MONGO_INITDB_ROOT_PASSWORD).toMatch(/^\$\{MONGODB_PASSWORD:\?/);
    expect(services.opencode?.environment?.OPENCODE_SERVER_PASSWORD).toMatch(
      /^\$\{OPENCODE_SERVER_PASSWORD:\?/,
    );
    expect(services.board?.environment?.OPENCODE_TURNS_BOARD_PASSWORD).toMatch(
      /^\$\{OPENCODE_TURNS_BOARD_PASSWORD:\?/,
    );
    const asked = [...read('docker-compose.yml').matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name);
    for (const name of asked) expect(read('.env.example')).toMatch(new RegExp(`^${name}=$`, 'm'));
  });

  it('shows agents and the worker one folder under one path', () => {
    const sandboxes = ({ volumes = [] }: Service) =>
      volumes.filter((volume) => volume.startsWith('sandboxes:'));
    const { opencode = {}, worker = {} } = services;
    expect(sandboxes(worker)).toEqual(['sandboxes:/sandboxes']);
    expect(sandboxes(opencode)).toEqual(sandboxes(worker));
    expect(worker.environment?.OPENCODE_TURNS_SANDBOX_ROOT).toBe('/sandboxes');
    for (const { build } of [worker, opencode])
      expect(stageOf(build?.target)).toContain('mkdir /sandboxes && chown node:node /sandboxes');
  });
});

describe('Dockerfile', () => {
  it('runs nothing as root', () => {
    expect(stages.map(({ name }) => name)).toEqual(['build', 'app', 'opencode']);
    for (const { name, text } of stages.slice(1)) {
      const last = [...text.matchAll(/^USER (\S+)/gm)].at(-1)?.[1];
      expect([name, last]).toEqual([name, 'node']);
      expect(text.indexOf('USER node')).toBeLessThan(text.indexOf('\nCMD '));
    }
  });

  it('copies what is there, and .dockerignore lets it through', () => {
    const sources = [...stageOf('build').matchAll(/^COPY (.+)$/gm)].flatMap(([, files = '']) =>
      files.split(' ').slice(0, -1),
    );
    expect(sources.length).toBeGreaterThan(4);
    const allowed = read('.dockerignore').split('\n');
    for (const source of sources) {
      expect(existsSync(path.join(root, source))).toBe(true);
      expect(allowed).toContain(`!${source.split('/')[0]}`);
    }
  });

  it('starts the worker as the Procfile does, and the server in the version that the tests run', () => {
    const [, command = '[]'] = /^CMD (.+)$/m.exec(stageOf('app')) ?? [];
    expect(`worker: ${(JSON.parse(command) as string[]).join(' ')}`).toBe(read('Procfile').split('\n')[0]);
    const [, version] = /opencode-ai@(\S+)/.exec(stageOf('opencode')) ?? [];
    expect(read('dev/services/opencode-package.ts')).toContain(`'${version}'`);
  });
});
