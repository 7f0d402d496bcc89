import { createParser } from 'eventsource-parser';

/** The longest frame that is believed, in characters; a server that sends more is broken. */
export const maxFrameLength = 16 * 1024 * 1024;

/**
 * Bytes of an event stream, split anywhere, to the data of its frames. Throws RangeError for a frame over the
 * bound. Pure.
 */
export function sseReader(onData: (data: string) => void): { push(bytes: Uint8Array): void } {
  const decoder = new TextDecoder('utf-8');
  const parser = createParser({ onEvent: ({ data }) => onData(data) });
  let pending = 0;
  return {
    push(bytes) {
      const text = decoder.decode(bytes, { stream: true });
      pending = text.includes('\n\n') || text.includes('\r') ? text.length : pending + text.length;
      if (pending > maxFrameLength) throw new RangeError(`a frame of more than ${maxFrameLength} characters`);
      parser.feed(text);
    },
  };
}
