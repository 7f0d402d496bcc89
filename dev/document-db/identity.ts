/** What this server says about itself. It never claims to be MongoDB. */
export const productName = 'embedded document database (not MongoDB)';

/** The wire protocol of MongoDB 7.0, standalone: the driver wants at least 9, and asks for nothing newer then. */
export const hello = () => ({
  helloOk: true,
  ismaster: true,
  isWritablePrimary: true,
  maxBsonObjectSize: 16 * 1024 * 1024,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  localTime: new Date(),
  logicalSessionTimeoutMinutes: 30,
  minWireVersion: 0,
  maxWireVersion: 21,
  readOnly: false,
});

export const buildInfo = () => ({
  version: '7.0.0',
  versionArray: [7, 0, 0, 0],
  gitVersion: productName,
  modules: [productName],
  bits: 64,
});

export const serverStatus = () => ({
  process: productName,
  version: '7.0.0',
  pid: process.pid,
  uptime: process.uptime(),
});
