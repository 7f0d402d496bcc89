import { createParser } from 'eventsource-parser';

/** The longest event that is believed, in bytes from the end of the one before it; a server that sends more is broken. */
export const maxEventBytes = 16 * 1024 * 1024;

/**
 * Bytes of an event stream, split anywhere, to the data of its events. Throws RangeError once more than `maxEventBytes`
 * came without the end of an event, however they are cut into lines: by LF, CR, CRLF or not at all. Pure.
 */
export function sseReader(onData: (data: string) => void): { push(bytes: Uint8Array): void } {
  const decoder = new TextDecoder('utf-8');
  let pending = 0;
  const onEvent = ({ data }: { data: string }) => {
    pending = 0;
    onData(data);
  };
  const parser = createParser({ onEvent });
  return {
    push(bytes) {
      pending += bytes.byteLength;
      if (pending > maxEventBytes) throw new RangeError(`an event of more than ${maxEventBytes} bytes`);
      parser.feed(decoder.decode(bytes, { stream: true }));
    },
  };
}
