import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from '@jest/globals';

export const secret = 'the secret';

/** A sandbox `box-1` among things that its agent must not reach, each of which holds the secret. */
export class HostileBox {
  readonly home = realpathSync(mkdtempSync(path.join(tmpdir(), 'hostile-box-')));
  readonly path = path.join(this.home, 'box-1');
  readonly outside = path.join(this.home, 'outside');

  constructor() {
    for (const folder of ['box-1/sub', 'box-10', 'outside'])
      mkdirSync(path.join(this.home, folder), { recursive: true });
    for (const file of ['box-10/a.txt', 'outside/a.txt', 'secret.txt'])
      writeFileSync(path.join(this.home, file), secret);
  }

  /** A path in the sandbox. */
  at(...names: string[]): string {
    return path.join(this.path, ...names);
  }

  write(name: string, content: string | Uint8Array = `bytes of ${name}`): string {
    writeFileSync(this.at(name), content);
    return this.at(name);
  }

  fifo(name: string): void {
    execFileSync('mkfifo', [this.at(name)]);
  }

  remove(): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Counts what a suite tried, and tells it past jest when the suite is over. */
export function hostileCases(suite: string): { tried(): void } {
  let count = 0;
  afterAll(() => writeFileSync(process.stderr.fd, `${suite}: ${count} hostile cases tried\n`));
  return {
    tried() {
      count += 1;
    },
  };
}
