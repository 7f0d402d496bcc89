import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * The collector comes again and again, as in a busy process, until the returned function is called. On a busy machine it
 * takes longer than the time between: then it leaves most of the time to what it is to disturb.
 */
export function collectGarbage(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let timer: NodeJS.Timeout;
  const again = () => {
    const from = performance.now();
    collect();
    timer = setTimeout(again, Math.max(100, 4 * (performance.now() - from)));
  };
  timer = setTimeout(again, 100);
  return () => clearTimeout(timer);
}
