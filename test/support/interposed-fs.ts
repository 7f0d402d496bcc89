import * as real from 'node:fs/promises';

/** Called before each call of the file system, which waits for it. May throw in place of the call. */
export type BeforeCall = (name: string, args: readonly unknown[]) => void | Promise<void>;

let beforeCall: BeforeCall = () => undefined;

/** While `fn` runs, `before` is told of every call that code under test makes, those of open files included. */
export async function interposing<T>(before: BeforeCall, fn: () => Promise<T>): Promise<T> {
  beforeCall = before;
  try {
    return await fn();
  } finally {
    beforeCall = () => undefined;
  }
}

type AnyFunction = (...args: unknown[]) => unknown;

function told(name: string, call: AnyFunction): AnyFunction {
  return async (...args) => {
    await beforeCall(name, args);
    const result = await call(...args);
    return name === 'open' ? toldHandle(result as real.FileHandle) : result;
  };
}

function toldHandle(handle: real.FileHandle): real.FileHandle {
  return new Proxy(handle, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function'
        ? told(`handle.${String(property)}`, (value as AnyFunction).bind(target))
        : value;
    },
  });
}

/** node:fs/promises, for `jest.unstable_mockModule`: the real functions on the real disk. */
export const interposedFs = Object.fromEntries(
  Object.entries(real).map(([name, value]) => [
    name,
    typeof value === 'function' ? told(name, value as AnyFunction) : value,
  ]),
);
