import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { quickTests } from '../quick/quick-tests.ts';
import { root } from './sources.ts';

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

it('quick tests are those of pure code, whichever folder they are in', () => {
  const quick = quickTests();
  expect(quick).toEqual(
    expect.arrayContaining(['test/reply/reply.test.ts', 'test/turn/entry.test.ts', 'test/closers.test.ts']),
  );
  const withServices = /\/(integration|faults|contract|redis|bullmq|real-mongodb)\//;
  expect(quick.filter((file) => withServices.test(file))).toEqual([]);
});

it('no quick test names a service, a process or a thread by another way than an import', () => {
  const hidden =
    /\b(REDIS_URL|MONGODB_URL|startRedis|startMongo|startOpencode|createRequire|getBuiltinModule|new Worker)\b/;
  expect(quickTests().filter((file) => hidden.test(read(file)))).toEqual([]);
});
