import '../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'content-disposition';
import fc from 'fast-check';
import type { FileRef } from '../../src/artifacts/attachment.ts';
import { downloadHeaders } from '../../src/artifacts/download-headers.ts';

const file = (more: Partial<FileRef> = {}): FileRef => ({
  fileId: '0'.repeat(24),
  filename: 'a.html',
  contentType: 'text/html',
  bytes: 3,
  sha256: 'abc',
  metadata: {},
  ...more,
});

describe('downloadHeaders', () => {
  it('makes what the agent wrote a download that cannot run', () => {
    expect(downloadHeaders(file({ metadata: { source: 'tool', inline: true } }))).toEqual({
      'content-type': 'text/html',
      'content-length': '3',
      'content-disposition': `attachment; filename=a.html`,
      etag: '"abc"',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    });
  });

  it('shows what a transform rendered, if its rule says so', () => {
    const metadata = { source: 'transform', renderedBy: 'a.html' };
    const headers = (inline: boolean) => downloadHeaders(file({ metadata: { ...metadata, inline } }));
    expect(headers(true)['content-disposition']).toMatch(/^inline;/);
    expect(headers(true)['content-security-policy']).toBeUndefined();
    expect(headers(false)['content-disposition']).toMatch(/^attachment;/);
  });

  it('tells the real name of any file in one line of ASCII', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.string({ unit: 'binary' }),
        (filename, contentType) => {
          const headers = downloadHeaders(file({ filename, contentType }));
          for (const value of Object.values(headers)) expect(value).toMatch(/^[\x20-\x7e]*$/);
          const { parameters } = parse(headers['content-disposition'] ?? '');
          expect(parameters.filename).toBe(filename.replace(/\p{Cs}/gu, '\u{fffd}'));
        },
      ),
    );
  });
});
