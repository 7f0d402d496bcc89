import { writeFileSync } from 'node:fs';

/** For `--json`: the file that `main.ts` reads the last line of its output from. */
export function writeResult(result: object): void {
  const file = process.env.FAULTS_RESULT;
  if (file) writeFileSync(file, JSON.stringify(result));
}

/** For whoever watches; past jest, which would add a stack to every line. */
export const print = (text: string): void => writeFileSync(process.stderr.fd, `${text}\n`);
