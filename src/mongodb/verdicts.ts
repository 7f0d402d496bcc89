/**
 * What each answer of MongoDB, of its driver and of Mongoose means for the call that got it. By number and name, never
 * by class: a document of the host may come with a Mongoose and a driver of its own.
 *
 * Numbers and names: `src/mongo/base/error_codes.yml` of MongoDB. Which of them may have been applied: the driver
 * specifications "retryable writes" and "server discovery and monitoring" (a write answered by one of these is sent
 * again only because the server can tell the second from the first), and MongoDB's manual on error labels.
 */
export interface Verdict {
  /** What has become of a write: surely not applied, applied but not confirmed, or nobody can say. */
  readonly effect: 'none' | 'applied' | 'unknown';
  /** The same call gets the same answer until somebody changes something. */
  readonly permanent: boolean;
}

const passing: Verdict = { effect: 'none', permanent: false };
const unknown: Verdict = { effect: 'unknown', permanent: false };
const refused: Verdict = { effect: 'none', permanent: true };
const applied: Verdict = { effect: 'applied', permanent: false };

/** A number that is not here is `unknown`: a good turn must not end because of an answer that nobody has met. */
const byCode: ReadonlyMap<number, Verdict> = new Map([
  // The way to the node that does the work broke, or it was stopped, while the command was under way.
  [6, unknown], // HostUnreachable
  [7, unknown], // HostNotFound
  [89, unknown], // NetworkTimeout
  [91, unknown], // ShutdownInProgress
  [189, unknown], // PrimarySteppedDown
  [202, unknown], // NetworkInterfaceExceededTimeLimit
  [262, unknown], // ExceededTimeLimit
  [279, unknown], // ClientDisconnect
  [317, unknown], // ConnectionPoolExpired
  [9001, unknown], // SocketException
  [11600, unknown], // InterruptedAtShutdown
  [11601, unknown], // Interrupted
  [11602, unknown], // InterruptedDueToReplStateChange
  [50, unknown], // MaxTimeMSExpired
  [251, unknown], // NoSuchTransaction
  [14031, unknown], // OutOfDiskSpace
  [1, unknown], // InternalError; on other engines: anything, a unique index and a deadlock among it
  [8, unknown], // UnknownError
  // Applied as a rule, and not confirmed by as many nodes as the URL asks for: it may be rolled back yet. What an operator
  // has made of the nodes or of the URL must not end the turns of a whole house, either.
  [64, applied], // WriteConcernFailed, WriteConcernTimeout
  [79, applied], // UnknownReplWriteConcern
  [100, applied], // UnsatisfiableWriteConcern
  // Refused before anything was done, and somebody else or a later moment may do it.
  [10107, passing], // NotWritablePrimary
  [13435, passing], // NotPrimaryNoSecondaryOk
  [13436, passing], // NotPrimaryOrSecondary
  [10058, passing], // LegacyNotPrimary
  [24, passing], // LockTimeout
  [46, passing], // LockBusy
  [112, passing], // WriteConflict: undone, to be tried again
  [117, passing], // ConflictingOperationInProgress
  [133, passing], // FailedToSatisfyReadPreference
  [134, passing], // ReadConcernMajorityNotAvailableYet
  [246, passing], // SnapshotUnavailable
  [314, passing], // ObjectIsBusy
  [365, passing], // TemporarilyUnavailable
  [391, passing], // ReauthenticationRequired
  [462, passing], // IngressRequestRateLimitExceeded
  [16500, passing], // RequestRateTooLarge, of Azure Cosmos DB
  [63, passing], // StaleShardVersion
  [150, passing], // StaleEpoch
  [13388, passing], // StaleConfig
  // Of reads, which may be read again from the beginning.
  [43, passing], // CursorNotFound
  [136, passing], // CappedPositionLost
  [175, passing], // QueryPlanKilled
  [237, passing], // CursorKilled
  // Rights and passwords: an operator's slip must not end the turns of a whole house; they wait for it to be mended.
  [13, passing], // Unauthorized
  [18, passing], // AuthenticationFailed
  // Ours or the host's own fault, the same each time.
  [2, refused], // BadValue
  [9, refused], // FailedToParse
  [14, refused], // TypeMismatch
  [16, refused], // InvalidLength
  [20, refused], // IllegalOperation
  [22, refused], // InvalidBSON
  [26, refused], // NamespaceNotFound
  [28, refused], // PathNotViable
  [40, refused], // ConflictingUpdateOperators
  [48, refused], // NamespaceExists
  [52, refused], // DollarPrefixedFieldName
  [54, refused], // NotSingleValueField
  [56, refused], // EmptyFieldName
  [59, refused], // CommandNotFound
  [66, refused], // ImmutableField
  [67, refused], // CannotCreateIndex
  [72, refused], // InvalidOptions
  [73, refused], // InvalidNamespace
  [85, refused], // IndexOptionsConflict
  [86, refused], // IndexKeySpecsConflict
  [115, refused], // CommandNotSupported
  [121, refused], // DocumentValidationFailure
  [171, refused], // CannotIndexParallelArrays
  [238, refused], // NotImplemented
  [10334, refused], // BSONObjectTooLarge
  [11000, refused], // DuplicateKey
  [11001, refused], // DuplicateKey of an update, before 4.2
  [17419, refused], // the document would be too large after the update
  [17420, refused], // the same
  [40415, refused], // IDLUnknownField
]);

/** Of the driver and of Mongoose, and the sockets' own codes, where no server has said anything. */
const byName: ReadonlyMap<string, Verdict> = new Map([
  // Nothing was sent.
  ['MongoServerSelectionError', passing],
  ['MongooseServerSelectionError', passing],
  ['MongoNotConnectedError', passing],
  ['MongoClientClosedError', passing],
  ['MongoServerClosedError', passing],
  ['MongoTopologyClosedError', passing],
  ['MongoPoolClosedError', passing],
  ['MongoPoolClearedError', passing],
  ['MongoWaitQueueTimeoutError', passing],
  ['MongoStalePrimaryError', passing],
  ['ECONNREFUSED', passing],
  ['ENOTFOUND', passing],
  ['EAI_AGAIN', passing],
  ['EHOSTUNREACH', passing],
  // Sent, perhaps, and not answered.
  ['MongoNetworkError', unknown],
  ['MongoNetworkTimeoutError', unknown],
  ['PoolClearedOnNetworkError', unknown],
  ['MongoSystemError', unknown],
  ['MongoOperationTimeoutError', unknown],
  ['MongoExpiredSessionError', unknown],
  ['MongoUnexpectedServerResponseError', unknown],
  ['MongoServerError', unknown],
  ['MongoWriteConcernError', applied],
  // The driver wraps whatever cuts a batch off into this, and leaves out what that was.
  ['MongoBulkWriteError', unknown],
  ['ECONNRESET', unknown],
  ['EPIPE', unknown],
  ['ETIMEDOUT', unknown],
  // Refused on our side of the wire.
  ['MongoInvalidArgumentError', refused],
  ['BSONError', refused],
  ['BSONVersionError', refused],
  ['BSONRuntimeError', refused],
]);

/** MongoDB's own word, for codes that this table does not know. */
const byLabel: readonly (readonly [label: string, Verdict])[] = [
  ['NoWritesPerformed', passing],
  ['TransientTransactionError', passing],
  ['SystemOverloadedError', unknown],
  ['RetryableWriteError', unknown],
  ['RetryableError', unknown],
];

interface Facts {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly hasErrorLabel?: (label: string) => boolean;
  /** The reply, where it was one of success with an error of the confirmation beside it. */
  readonly result?: { readonly writeConcernError?: unknown };
}

/** Undefined for what comes neither from a database nor from the way to it. */
export function verdictOn(error: unknown): Verdict | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { name, code, message, result } = error as Facts;
  // Whatever its number says of a command: this one was carried out.
  if (result?.writeConcernError) return applied;
  const known = typeof code === 'number' ? byCode.get(code) : byName.get(String(code));
  if (known) return known;
  const labelled = byLabel.find(([label]) => (error as Facts).hasErrorLabel?.(label));
  if (labelled) return labelled[1];
  // Mongoose has one class for a dozen reasons; these are the passing ones, the last of a host that buffers.
  if (name === 'MongooseError')
    return /initial connection|disconnected|buffering timed out/.test(String(message)) ? passing : undefined;
  return byName.get(String(name)) ?? byAncestor(error);
}

/** By the names of its classes, the nearest first: a newer driver has more of them than this table. */
function byAncestor(error: object): Verdict | undefined {
  for (let at: unknown = Object.getPrototypeOf(error); at; at = Object.getPrototypeOf(at)) {
    const verdict = byName.get((at as object).constructor.name);
    if (verdict) return verdict;
  }
  return undefined;
}

/** Whether a unique index refused the write. Other engines say so with another code and in words of their own. */
export function isDuplicate(error: unknown): boolean {
  const { code, message } = (error ?? {}) as Facts;
  return code === 11000 || code === 11001 || (typeof code === 'number' && /\bE11000\b/.test(String(message)));
}
