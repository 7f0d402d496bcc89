import { TurnsError } from './turns-error.ts';

/** A file was refused because following or reading it would not be safe. `rule` names the broken rule. */
export class UnsafeFileError extends TurnsError {
  readonly code = 'unsafe_file';
  readonly disposition = 'fail';
  readonly filename: string;
  readonly rule: string;
  constructor(filename: string, rule: string, options?: { cause?: unknown }) {
    super(`${JSON.stringify(filename)} is refused: ${rule}`, options);
    this.filename = filename;
    this.rule = rule;
  }
}

/** More bytes than the cap allows; nothing was kept. */
export class FileTooLargeError extends TurnsError {
  readonly code = 'file_too_large';
  readonly disposition = 'fail';
  readonly filename: string;
  readonly maxBytes: number;
  constructor(filename: string, maxBytes: number) {
    super(`${JSON.stringify(filename)} is larger than ${maxBytes} bytes`);
    this.filename = filename;
    this.maxBytes = maxBytes;
  }
}

/** A transform could not render one file. That file is skipped and reported; the others go on. */
export class TransformError extends TurnsError {
  readonly code = 'transform_failed';
  readonly disposition = 'fail';
  readonly filename: string;
  constructor(filename: string, problem: string, options?: { cause?: unknown }) {
    super(`transform of ${JSON.stringify(filename)}: ${problem}`, options);
    this.filename = filename;
  }
}

/** A stored file's bytes are not what its entry says: some are gone, or others than were written. */
export class CorruptFileError extends TurnsError {
  readonly code = 'corrupt_file';
  readonly disposition = 'fail';
  readonly fileId: string;
  constructor(fileId: string, problem: string, options?: { cause?: unknown }) {
    super(`file ${fileId} is stored wrongly: ${problem}`, options);
    this.fileId = fileId;
  }
}
