import { create } from 'content-disposition';
import type { FileRef } from './attachment.ts';
import { stamp } from './transform.ts';

/**
 * HTTP headers to serve an attached file under. A file is a download, unless a transform of the host rendered it
 * and its rule says `inline`: what an agent wrote never runs on the page's own origin. Pure.
 */
export function downloadHeaders(file: FileRef): Readonly<Record<string, string>> {
  const { filename, contentType, bytes, sha256, metadata } = file;
  const inline = metadata[stamp.source] === 'transform' && metadata[stamp.inline] === true;
  return {
    'content-type': inline ? contentType : validType(contentType),
    'content-length': String(bytes),
    'content-disposition': disposition(filename, inline ? 'inline' : 'attachment'),
    etag: `"${sha256}"`,
    'x-content-type-options': 'nosniff',
    ...(inline ? {} : { 'content-security-policy': "default-src 'none'; sandbox" }),
  };
}

/** A type that is no type would be guessed, or break the header. */
function validType(contentType: string): string {
  return /^[\w.+-]+\/[\w.+-]+(; ?charset=[\w-]+)?$/i.test(contentType)
    ? contentType
    : 'application/octet-stream';
}

/** Half a surrogate pair has no UTF-8, so that no header can hold it. */
const disposition = (filename: string, type: 'inline' | 'attachment') =>
  create(filename.replace(/\p{Cs}/gu, '\u{fffd}'), { type });
