import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';

/** Everything from here, nothing in a frame. The board's markup has styles in place, and no script of that kind. */
const policy = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'", "'unsafe-inline'"],
  imgSrc: ["'self'", 'data:'],
  fontSrc: ["'self'"],
  connectSrc: ["'self'"],
  baseUri: ["'self'"],
  formAction: ["'none'"],
  frameAncestors: ["'none'"],
};

export const headers = secureHeaders({
  contentSecurityPolicy: policy,
  xFrameOptions: 'DENY',
  referrerPolicy: 'no-referrer',
});

/** What the board shows is kept nowhere; its scripts and styles carry a hash in their names. */
export const notKept: MiddlewareHandler = async (context, next) => {
  await next();
  const kept = context.req.path.includes('/static/');
  context.header('cache-control', kept ? 'private, max-age=3600' : 'no-store');
};

/** Bull Board's page asks another company for its fonts at each visit; it does without. */
export const noForeignFonts: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.res.headers.get('content-type')?.startsWith('text/html')) return;
  const page = await context.res.text();
  const own = page.replace(/<link\s[^>]*href="https?:\/\/[^>]*>/g, '');
  context.res = new Response(own, { status: context.res.status, headers: context.res.headers });
};
