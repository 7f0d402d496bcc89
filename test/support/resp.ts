/** Redis' wire protocol, as far as a proxy must know it: where a value ends, and the words of a command. */

const lineEnd = '\r\n';
/** How many values follow for each one that is counted. */
const children: Record<string, number> = { '*': 1, '~': 1, '>': 1, '%': 2 };
const lengthFirst = new Set(['$', '=', '!']);

/** Where the value that begins at `from` ends; undefined while it is not whole. RESP2 and RESP3, without streamed ones. */
export function endOfValue(bytes: Buffer, from: number): number | undefined {
  const line = bytes.indexOf(lineEnd, from);
  if (line < 0) return undefined;
  const type = String.fromCharCode(bytes[from] ?? 0);
  const end = line + 2;
  const count = Number(bytes.toString('latin1', from + 1, line));
  if (lengthFirst.has(type)) {
    const whole = count < 0 ? end : end + count + 2;
    return whole <= bytes.length ? whole : undefined;
  }
  let at: number | undefined = end;
  for (let left = count * (children[type] ?? 0); left > 0 && at !== undefined; left -= 1)
    at = endOfValue(bytes, at);
  return at;
}

/** Cuts a stream of chunks into values. */
export class RespSplitter {
  #rest: Buffer = Buffer.alloc(0);

  *push(chunk: Buffer): Generator<Buffer> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const end = this.#rest.length === 0 ? undefined : endOfValue(this.#rest, 0);
      if (end === undefined) return;
      const value = this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
      yield value;
    }
  }
}

/** The bulk strings of an array of them: a command, or what is pushed to a subscriber. */
export function wordsOf(value: Buffer): string[] {
  const words: string[] = [];
  for (let at = value.indexOf(lineEnd) + 2; at < value.length; ) {
    const end = endOfValue(value, at) ?? value.length;
    if (value[at] === 0x24) words.push(value.toString('latin1', value.indexOf(lineEnd, at) + 2, end - 2));
    at = end;
  }
  return words;
}
