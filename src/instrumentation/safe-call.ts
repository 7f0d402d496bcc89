/**
 * A call to a port that the host has made. What it throws, now or later, goes to `failed` and nowhere else; a promise is
 * waited for by nobody, so that one which hangs costs nothing. Returns what the call returned, which may be anything, and
 * undefined when it threw. `failed` must not throw.
 */
export function safeCall<T>(call: () => T, failed: (error: unknown) => void): T | undefined {
  try {
    const returned = call();
    // One that fails later would end the process as an unhandled rejection.
    if (typeof returned === 'object' && returned !== null) Promise.resolve(returned).catch(failed);
    return returned;
  } catch (error) {
    failed(error);
    return undefined;
  }
}
