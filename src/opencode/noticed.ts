import type { RequestObserver } from '../ports/upstream.ts';

/** The same client, each of whose calls is shown to the observer before its caller hears of it. */
export function noticed<T extends object>(client: T, { answered, failed }: RequestObserver): T {
  return new Proxy(client, {
    get(target, name) {
      const call: unknown = Reflect.get(target, name);
      if (typeof call !== 'function') return call;
      return async (...args: unknown[]) => {
        try {
          const answer: unknown = await Reflect.apply(call, target, args);
          answered?.();
          return answer;
        } catch (error) {
          failed(error);
          throw error;
        }
      };
    },
  });
}
