import type { RequestObserver } from './upstream.ts';

/**
 * The same object; how each of its calls ended is shown to the observer, once and before its caller hears of it, and goes on
 * to the caller as it is.
 */
export function noticed<T extends object>(target: T, { answered, failed }: RequestObserver): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        try {
          const returned: unknown = Reflect.apply(value, object, args);
          if (returned instanceof Promise) void returned.then(answered, failed);
          return returned;
        } catch (error) {
          failed(error);
          throw error;
        }
      };
    },
  });
}
