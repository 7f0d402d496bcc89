/** What a chunk on its way between a worker and its services says, as far as its first bytes tell. */
export const services = ['redis', 'mongo', 'opencode'] as const;
export type ServiceName = (typeof services)[number];
export type Way = 'request' | 'answer';

export const chunkLabels: Record<ServiceName, (bytes: Buffer, way: Way) => string> = {
  redis: (bytes, way) => (way === 'answer' ? 'answer' : words(bytes.toString('latin1'))),
  // Behind the header (16), flags (4), kind (1), length (4) and type (1) stands the name of the first field.
  mongo: (bytes) => bytes.toString('latin1', 26, 46).split('\0', 1)[0] || 'more',
  opencode: (bytes, way) =>
    way === 'request'
      ? firstLine(bytes)
      : (/"type":"([\w.]+)"/.exec(bytes.toString())?.[1] ?? firstLine(bytes)),
};

/** The first commands of a pipeline, without their arguments. */
function words(commands: string): string {
  const names = [...commands.matchAll(/\*\d+\r\n\$\d+\r\n([a-zA-Z]+)\r\n/g)].map(([, name]) =>
    name?.toLowerCase(),
  );
  return names.slice(0, 3).join(' ') || 'bytes';
}

const firstLine = (bytes: Buffer) =>
  (bytes.toString('latin1', 0, 120).split('\r\n', 1)[0] ?? '')
    .replace(/[?].*/, '')
    .replace(/(ses|msg|prt)_\w+/g, '$1')
    .replace(/[^\x20-\x7e]/g, '.')
    .slice(0, 50);
