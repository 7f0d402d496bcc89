/** Environment of a process whose wall clock is wrong by so many ms; its monotonic clock and timers are right. */
export function shiftedClock(byMs: number): NodeJS.ProcessEnv {
  const preload = `
    const Real = Date;
    const now = Real.now.bind(Real);
    Real.now = () => now() + ${byMs};
    globalThis.Date = new Proxy(Real, {
      construct: (target, args, as) => Reflect.construct(target, args.length === 0 ? [Real.now()] : args, as),
      apply: () => new Real(Real.now()).toString(),
    });`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(preload)}` };
}
