import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** The collector comes again and again, as in a busy process, until the returned function is called. */
export function collectGarbage(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const timer = setInterval(collect, 100);
  return () => clearInterval(timer);
}
